-- Entries are found by a key that the client chooses: cached data, and the sessions of frameworks that name
-- their sessions themselves. The rules of sessionsql.session hold here too: no CHECK, no index but the key's,
-- and functions that refuse null before the table does, because a violation prints the whole row.
--
-- An operator may make the table UNLOGGED. Then a crash empties it, a tombstone included, and no replica can
-- read it.
CREATE TABLE sessionsql.cache_entry (
  -- The key has 16 bytes of a hash instead of the caller's text, so that any text fits and the index stays
  -- small; see cache_key.
  key uuid PRIMARY KEY,
  -- No index has this column, because each touch would then change the index and would not be HOT.
  expires_at timestamptz NOT NULL,
  space integer NOT NULL,
  value bytea,
  plain_key bytea
) WITH (
  -- These have the values of sessionsql.session, for the reasons that stand there.
  fillfactor = 70,
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_cost_delay = 2,
  vacuum_truncate = off,
  toast.autovacuum_vacuum_threshold = 2000,
  toast.autovacuum_vacuum_scale_factor = 0.01,
  toast.autovacuum_vacuum_cost_delay = 2,
  toast.vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.cache_entry IS
  'One row an entry. Read it through sessionsql.cache_get_batch and sessionsql.cache_live, which know what is '
  'expired.';
COMMENT ON COLUMN sessionsql.cache_entry.key IS 'First 16 bytes of a hash of space and key; see cache_key.';
COMMENT ON COLUMN sessionsql.cache_entry.expires_at IS
  'Dead from this instant on, whether reaped or not; infinity for an entry that never expires.';
COMMENT ON COLUMN sessionsql.cache_entry.space IS 'Number of the cache; see cache_space_id.';
COMMENT ON COLUMN sessionsql.cache_entry.value IS
  'What the application keeps; opaque to this bundle. Null for a tombstone, which no set replaces.';
COMMENT ON COLUMN sessionsql.cache_entry.plain_key IS
  'Key as the application names it; null if it is not kept, empty for the lease of cache_fetch_lease.';

-- Statistics would copy values and keys into pg_statistic, and no plan needs them.
ALTER TABLE sessionsql.cache_entry
  ALTER COLUMN value SET STATISTICS 0,
  ALTER COLUMN plain_key SET STATISTICS 0;

-- lz4 takes less CPU time than pglz, as for payloads.
DO $compression$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_settings AS s
    WHERE s.name OPERATOR(pg_catalog.=) 'default_toast_compression'
      AND 'lz4' OPERATOR(pg_catalog.=) ANY (s.enumvals)
  ) THEN
    ALTER TABLE sessionsql.cache_entry ALTER COLUMN value SET COMPRESSION lz4;
  END IF;
END
$compression$;
