-- This last file of an installation restores the settings for the statements that follow in the transaction.
-- It sets only those that begin.sql changed, because some need a privilege.
DO $end$
BEGIN
  PERFORM pg_catalog.set_config(s.key, s.value, true)
  FROM pg_catalog.json_each_text(pg_catalog.current_setting('sessionsql.settings')::pg_catalog.json) AS s
  WHERE s.value OPERATOR(pg_catalog.<>) pg_catalog.current_setting(s.key);
END
$end$;
