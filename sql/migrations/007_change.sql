-- TRUNCATE ends every session, and no function sees it. The trigger's lock lets lookups go on, but no write,
-- so this migration runs at the end of the installation.
CREATE TRIGGER log_truncate
  AFTER TRUNCATE ON sessionsql.session
  FOR EACH STATEMENT
  EXECUTE FUNCTION sessionsql.log_truncate();

INSERT INTO sessionsql.migration (id, name) VALUES (7, 'change');
