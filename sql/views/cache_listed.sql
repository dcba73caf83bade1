-- This is the row type of cache_list. It leaves out entries whose key is not kept, and leases.
CREATE OR REPLACE VIEW sessionsql.cache_listed AS
SELECT
  e.key,
  e.plain_key,
  e.value,
  CASE
    WHEN e.expires_at = 'infinity' THEN 'Infinity'
    ELSE date_part('epoch', e.expires_at - statement_timestamp())
  END::double precision AS expires_in,
  e.space
FROM sessionsql.cache_entry AS e
WHERE e.expires_at > statement_timestamp()
  AND e.value IS NOT NULL
  AND octet_length(e.plain_key) > 0;

COMMENT ON VIEW sessionsql.cache_listed IS 'A live entry of a cache that keeps the keys as they are.';
COMMENT ON COLUMN sessionsql.cache_listed.key IS 'First 16 bytes of a hash of space and key; see cache_key.';
COMMENT ON COLUMN sessionsql.cache_listed.plain_key IS 'Key as the application names it.';
COMMENT ON COLUMN sessionsql.cache_listed.value IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.cache_listed.expires_in IS
  'Seconds left, by the server''s clock; Infinity for an entry that never expires.';
COMMENT ON COLUMN sessionsql.cache_listed.space IS 'Number of the cache; see cache_space_id.';
