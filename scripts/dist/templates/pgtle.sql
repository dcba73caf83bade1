-- For servers whose files you cannot reach, but which have the extension pg_tle. Run this file once as a
-- member of pgtle_admin, and then CREATE EXTENSION sessionsql or ALTER EXTENSION sessionsql UPDATE.
DO $pgtle$
DECLARE
  older text;
  script CONSTANT text := $_pgtle_$
{{.Script}}$_pgtle_$;
BEGIN
  IF EXISTS (SELECT FROM pgtle.available_extensions() AS e WHERE e.name = 'sessionsql') THEN
    PERFORM pgtle.install_extension_version_sql('sessionsql', '{{.Version}}', script);
    PERFORM pgtle.set_default_version('sessionsql', '{{.Version}}');
  ELSE
    PERFORM pgtle.install_extension('sessionsql', '{{.Version}}', '{{.Comment}}', script);
  END IF;
  FOREACH older IN ARRAY ARRAY[{{.Older}}]::text[] LOOP
    PERFORM pgtle.install_update_path('sessionsql', older, '{{.Version}}', script);
  END LOOP;
END
$pgtle$;
