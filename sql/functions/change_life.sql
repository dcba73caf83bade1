-- An epoch must end when the tables of the change log are others than the ones it began with, although a row
-- says otherwise. A restored dump brings the row back into new files. A restored copy of the data folder
-- brings the files back, under a server that was started anew. CREATE DATABASE with a TEMPLATE copies both
-- into another database.
CREATE OR REPLACE FUNCTION sessionsql.change_life()
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT concat_ws(
    '/',
    date_part('epoch', pg_postmaster_start_time()),
    (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()),
    pg_relation_filenode('sessionsql.change'::regclass),
    pg_relation_filenode('sessionsql.change_epoch'::regclass)
  );
END;

COMMENT ON FUNCTION sessionsql.change_life() IS
  'Returns a text that differs after a restart, a restore or a TRUNCATE of the change log.';
