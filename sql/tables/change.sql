-- Programs that keep sessions and cache entries in memory read here which of them others have ended or
-- written; see functions/changes.sql. The transaction that changes one adds a row, so the row is visible
-- exactly when the change is.
--
-- Both tables are UNLOGGED. They cost no WAL, and they are empty after a crash and on a promoted standby,
-- where ids of transactions are handed out again. So rows and epoch never outlive the numbers in them.
CREATE UNLOGGED TABLE sessionsql.change (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ids bigint[],
  keys uuid[]
) WITH (
  -- Each row is deleted within minutes, so vacuum starts as early as on the session table.
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_cost_delay = 2,
  -- Truncation needs an ACCESS EXCLUSIVE lock, behind which logouts would wait.
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.change IS 'Sessions and near cache entries that were ended or written lately.';
COMMENT ON COLUMN sessionsql.change.xid IS 'Transaction that made the change.';
COMMENT ON COLUMN sessionsql.change.ids IS 'Ids of the changed sessions.';
COMMENT ON COLUMN sessionsql.change.keys IS
  'Keys of the changed near cache entries; if both columns are null, everything may have changed.';

-- A reader asks for the transactions since its last snapshot. Without an index each reader would scan all
-- rows several times a second.
CREATE INDEX change_xid ON sessionsql.change (xid);

CREATE UNLOGGED TABLE sessionsql.change_epoch (
  singleton boolean PRIMARY KEY DEFAULT true,
  epoch uuid NOT NULL DEFAULT gen_random_uuid(),
  life text NOT NULL,
  purged_before xid8 NOT NULL,
  next_purge xid8 NOT NULL,
  next_purge_noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (
  -- The row is rewritten once in two minutes, so any setting does; see tables/reaper.sql.
  fillfactor = 10,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.change_epoch IS 'Epoch of sessionsql.change; one row, or none after a crash.';
COMMENT ON COLUMN sessionsql.change_epoch.singleton IS 'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.change_epoch.epoch IS 'Random name of the epoch.';
COMMENT ON COLUMN sessionsql.change_epoch.life IS 'Result of sessionsql.change_life() in this epoch.';
COMMENT ON COLUMN sessionsql.change_epoch.purged_before IS
  'Rows of earlier transactions may have been deleted.';
COMMENT ON COLUMN sessionsql.change_epoch.next_purge IS 'Rows of earlier transactions are deleted next.';
COMMENT ON COLUMN sessionsql.change_epoch.next_purge_noted_at IS 'When next_purge was noted.';
