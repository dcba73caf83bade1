-- list_subject now returns the label as well, in rows of views/listed_session.sql. CREATE OR REPLACE cannot
-- change a function's result, so the function of 0.1.0 makes room for its successor. It is renamed and not
-- dropped, because a call under way finds it by number; migration 5 drops it.
DO $listed$
BEGIN
  IF to_regprocedure('sessionsql.list_subject(text)') IS NOT NULL THEN
    ALTER FUNCTION sessionsql.list_subject(text) RENAME TO list_subject_before;
  END IF;
END
$listed$;

INSERT INTO sessionsql.migration (id, name) VALUES (2, 'listed');
