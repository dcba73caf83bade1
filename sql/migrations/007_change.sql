-- TRUNCATE ends every session, and no function sees it. The trigger's lock stops the writes to the table, so
-- this migration runs in the first step of an upgrade, as migration 1 does.
CREATE TRIGGER log_truncate
  AFTER TRUNCATE ON sessionsql.session
  FOR EACH STATEMENT
  EXECUTE FUNCTION sessionsql.log_truncate();

INSERT INTO sessionsql.migration (id, name) VALUES (7, 'change');
