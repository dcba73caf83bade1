-- list_subject returns the label as well: rows of views/listed_session.sql. A function's result cannot be
-- replaced, so the function of 0.1.0 goes just before its successor comes. A call of it that is under way has
-- its body already, and ends by views/subject_session.sql.
DROP FUNCTION IF EXISTS sessionsql.list_subject(text);

INSERT INTO sessionsql.migration (id, name) VALUES (2, 'listed');
