-- list_subject returns the label as well: rows of views/listed_session.sql. A function's result cannot be
-- replaced, so the function of 0.1.0 makes room for its successor. It is renamed and not dropped, because a
-- call of it that is under way finds it by number; migration 5 drops it.
DO $listed$
BEGIN
  IF to_regprocedure('sessionsql.list_subject(text)') IS NOT NULL THEN
    ALTER FUNCTION sessionsql.list_subject(text) RENAME TO list_subject_before;
  END IF;
END
$listed$;

INSERT INTO sessionsql.migration (id, name) VALUES (2, 'listed');
