-- The reaper sums the bytes of each space with a budget here while its hand goes round. Only the holder of
-- the hand's lock writes here, so that no two writers meet.
CREATE TABLE sessionsql.cache_space (
  space integer PRIMARY KEY,
  max_bytes bigint NOT NULL,
  asked_at timestamptz NOT NULL,
  lap_bytes double precision NOT NULL DEFAULT 0,
  lap_evicted_bytes double precision NOT NULL DEFAULT 0,
  last_lap_bytes double precision NOT NULL DEFAULT 0
) WITH (
  -- As in sessionsql.reaper, each call rewrites the rows.
  fillfactor = 10,
  autovacuum_vacuum_threshold = 100,
  autovacuum_vacuum_scale_factor = 0,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.cache_space IS 'One row a space with a budget.';
COMMENT ON COLUMN sessionsql.cache_space.space IS 'Number of the cache; see cache_space_id.';
COMMENT ON COLUMN sessionsql.cache_space.max_bytes IS 'Budget of the space.';
COMMENT ON COLUMN sessionsql.cache_space.asked_at IS
  'When a call of cache_reap last named the budget, which lapses after a day.';
COMMENT ON COLUMN sessionsql.cache_space.lap_bytes IS
  'Bytes that the hand has met and left in the lap under way.';
COMMENT ON COLUMN sessionsql.cache_space.lap_evicted_bytes IS
  'Bytes that were evicted in the lap under way.';
COMMENT ON COLUMN sessionsql.cache_space.last_lap_bytes IS 'Bytes that the hand left in the last whole lap.';
