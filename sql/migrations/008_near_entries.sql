-- TRUNCATE ends every cache entry, and no function sees it, as with sessions.
CREATE TRIGGER log_truncate
  AFTER TRUNCATE ON sessionsql.cache_entry
  FOR EACH STATEMENT
  EXECUTE FUNCTION sessionsql.log_truncate();

INSERT INTO sessionsql.migration (id, name) VALUES (8, 'near_entries');
