-- This gives an engineer at 3 a.m. and a dashboard one cheap row, without count(*) and without a lock. Query
-- it on the primary, because each server counts its own reads and writes, and a replica returns null for
-- them. Only members of pg_read_all_stats see the transactions of other roles.
CREATE OR REPLACE VIEW sessionsql.health AS
SELECT
  GREATEST(c.reltuples, 0)::bigint AS estimated_rows,
  pg_catalog.pg_table_size(c.oid)::bigint AS heap_bytes,
  pg_catalog.pg_indexes_size(c.oid)::bigint AS index_bytes,
  CASE
    WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_stat_get_dead_tuples(c.oid)
  END::bigint AS dead_tuples,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN COALESCE(
    pg_catalog.pg_stat_get_tuples_hot_updated(c.oid)::double precision
      / NULLIF(pg_catalog.pg_stat_get_tuples_updated(c.oid), 0),
    1
  ) END::double precision AS hot_ratio,
  CASE
    WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_stat_get_last_autovacuum_time(c.oid)
  END AS last_autovacuum,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN COALESCE(
    (
      SELECT max(age(h.xmin))
      FROM (
        SELECT a.backend_xmin AS xmin FROM pg_catalog.pg_stat_activity AS a
        UNION ALL
        SELECT p.xmin FROM pg_catalog.pg_replication_slots AS p
        UNION ALL
        SELECT p.catalog_xmin FROM pg_catalog.pg_replication_slots AS p
        UNION ALL
        SELECT x.transaction FROM pg_catalog.pg_prepared_xacts AS x
      ) AS h
    ),
    0
  ) END::bigint AS oldest_xmin_age,
  r.last_lap_oldest_expired AS oldest_expired,
  r.last_lap_ended_at AS last_lap_ended_at,
  age(c.relfrozenxid)::bigint AS wraparound_age,
  GREATEST(e.reltuples, 0)::bigint AS cache_rows,
  pg_catalog.pg_table_size(e.oid)::bigint AS cache_heap_bytes,
  pg_catalog.pg_indexes_size(e.oid)::bigint AS cache_index_bytes,
  CASE
    WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_stat_get_dead_tuples(e.oid)
  END::bigint AS cache_dead_tuples,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN COALESCE(
    pg_catalog.pg_stat_get_tuples_hot_updated(e.oid)::double precision
      / NULLIF(pg_catalog.pg_stat_get_tuples_updated(e.oid), 0),
    1
  ) END::double precision AS cache_hot_ratio,
  cr.last_lap_oldest_expired AS cache_oldest_expired,
  cr.last_lap_ended_at AS cache_last_lap_ended_at
FROM pg_catalog.pg_class AS c
CROSS JOIN sessionsql.reaper AS r
CROSS JOIN pg_catalog.pg_class AS e
CROSS JOIN sessionsql.cache_reaper AS cr
WHERE c.oid = 'sessionsql.session'::regclass
  AND e.oid = 'sessionsql.cache_entry'::regclass;

COMMENT ON VIEW sessionsql.health IS 'State of the tables of sessions and cache entries in one cheap row.';
COMMENT ON COLUMN sessionsql.health.estimated_rows IS
  'Rows as of the last vacuum or analyze, expired ones included.';
COMMENT ON COLUMN sessionsql.health.heap_bytes IS 'Bytes of the table and its TOAST table.';
COMMENT ON COLUMN sessionsql.health.index_bytes IS 'Bytes of the table''s indexes.';
COMMENT ON COLUMN sessionsql.health.dead_tuples IS
  'Row versions that vacuum has yet to remove; null on a replica.';
COMMENT ON COLUMN sessionsql.health.hot_ratio IS
  'Share of updates that changed no index, 0 to 1; watch below 0.99. Null on a replica.';
COMMENT ON COLUMN sessionsql.health.last_autovacuum IS
  'End of the last autovacuum; null if there was none, and on a replica.';
COMMENT ON COLUMN sessionsql.health.oldest_xmin_age IS
  'Transactions since the oldest snapshot that holds back vacuum on this server; null on a replica.';
COMMENT ON COLUMN sessionsql.health.oldest_expired IS
  'Earliest expires_at that the reaper met in its last whole lap; null if none was expired.';
COMMENT ON COLUMN sessionsql.health.last_lap_ended_at IS
  'Time at which the reaper last ended a lap; null if never.';
COMMENT ON COLUMN sessionsql.health.wraparound_age IS 'Transactions since the table was last frozen.';
COMMENT ON COLUMN sessionsql.health.cache_rows IS
  'Rows of the cache as of the last vacuum or analyze, expired ones and tombstones included.';
COMMENT ON COLUMN sessionsql.health.cache_heap_bytes IS 'Bytes of the cache''s table and its TOAST table.';
COMMENT ON COLUMN sessionsql.health.cache_index_bytes IS 'Bytes of the cache''s index.';
COMMENT ON COLUMN sessionsql.health.cache_dead_tuples IS
  'Row versions of the cache that vacuum has yet to remove; null on a replica.';
COMMENT ON COLUMN sessionsql.health.cache_hot_ratio IS
  'Share of the cache''s updates that changed no index, 0 to 1. Null on a replica.';
COMMENT ON COLUMN sessionsql.health.cache_oldest_expired IS
  'Earliest expires_at that the cache''s reaper met in its last whole lap; null if none was expired.';
COMMENT ON COLUMN sessionsql.health.cache_last_lap_ended_at IS
  'Time at which the cache''s reaper last ended a lap; null if never.';
