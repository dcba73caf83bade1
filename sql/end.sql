-- The last file of an installation: whatever follows in the same transaction finds the settings that it had.
-- Only those that begin.sql changed are set, because some take a privilege.
DO $end$
BEGIN
  PERFORM pg_catalog.set_config(s.key, s.value, true)
  FROM pg_catalog.json_each_text(pg_catalog.current_setting('sessionsql.settings')::pg_catalog.json) AS s
  WHERE s.value OPERATOR(pg_catalog.<>) pg_catalog.current_setting(s.key);
END
$end$;
