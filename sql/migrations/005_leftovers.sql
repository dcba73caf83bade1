-- Calls of 0.1.0 need these functions until they end, because a call of list_subject finds its function by
-- number, and the bodies of insert and insert_batch find is_insertable by name. Go's Install commits the
-- other migrations earlier, so that those calls have ended by now.
DROP FUNCTION IF EXISTS
  sessionsql.list_subject_before(text),
  sessionsql.is_insertable(bytea, text, double precision, double precision, text, integer);

INSERT INTO sessionsql.migration (id, name) VALUES (5, 'leftovers');
