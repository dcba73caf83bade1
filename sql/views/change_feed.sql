-- This is the row type of changes.
CREATE OR REPLACE VIEW sessionsql.change_feed AS
SELECT
  e.epoch::text AS epoch,
  pg_current_snapshot()::text AS snapshot,
  false AS everything,
  ARRAY[]::bigint[]::sessionsql.id_list AS ids,
  ARRAY[]::uuid[]::sessionsql.key_list AS keys
FROM sessionsql.change_epoch AS e;

COMMENT ON VIEW sessionsql.change_feed IS 'What was ended or written since a snapshot.';
COMMENT ON COLUMN sessionsql.change_feed.epoch IS 'Name of the epoch, in which no change is lost.';
COMMENT ON COLUMN sessionsql.change_feed.snapshot IS 'Snapshot to give to the next call of changes.';
COMMENT ON COLUMN sessionsql.change_feed.everything IS 'True: anything may have changed.';
COMMENT ON COLUMN sessionsql.change_feed.ids IS 'Ids of the changed sessions, some perhaps repeated.';
COMMENT ON COLUMN sessionsql.change_feed.keys IS
  'Keys of the changed near cache entries, some perhaps repeated.';
