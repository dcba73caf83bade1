-- This is the row type of cache_get_batch. Before 17, PostgreSQL cannot subtract from infinity.
CREATE OR REPLACE VIEW sessionsql.cache_live AS
SELECT
  e.key,
  e.value,
  CASE
    WHEN e.expires_at = 'infinity' THEN 'Infinity'
    ELSE date_part('epoch', e.expires_at - statement_timestamp())
  END::double precision AS expires_in
FROM sessionsql.cache_entry AS e
WHERE e.expires_at > statement_timestamp()
  AND e.value IS NOT NULL;

COMMENT ON VIEW sessionsql.cache_live IS 'A live entry of a cache.';
COMMENT ON COLUMN sessionsql.cache_live.key IS 'First 16 bytes of a hash of space and key; see cache_key.';
COMMENT ON COLUMN sessionsql.cache_live.value IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.cache_live.expires_in IS
  'Seconds left, by the server''s clock; Infinity for an entry that never expires.';
