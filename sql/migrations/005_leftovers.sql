-- Calls of 0.1.0 need these functions until they end: a list_subject has found its own by number, and the
-- bodies of insert and insert_batch find is_insertable by name. Go's Install commits the other migrations a
-- while earlier, so that those calls have ended.
DROP FUNCTION IF EXISTS
  sessionsql.list_subject_before(text),
  sessionsql.is_insertable(bytea, text, double precision, double precision, text, integer);

INSERT INTO sessionsql.migration (id, name) VALUES (5, 'leftovers');
