-- This is the row type of cache_fetch_lease. No query reads it.
CREATE OR REPLACE VIEW sessionsql.cache_lease AS
SELECT
  e.value,
  0::double precision AS expires_in,
  false AS leased
FROM sessionsql.cache_entry AS e;

COMMENT ON VIEW sessionsql.cache_lease IS 'An entry, and whether the caller is to load its value.';
COMMENT ON COLUMN sessionsql.cache_lease.value IS 'What the application keeps; null if there is no live entry.';
COMMENT ON COLUMN sessionsql.cache_lease.expires_in IS
  'Seconds left, by the server''s clock; Infinity for an entry that never expires; null if there is none.';
COMMENT ON COLUMN sessionsql.cache_lease.leased IS 'Whether the caller holds the lease now.';
