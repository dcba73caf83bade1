-- What migration 2 put aside. Go's Install commits migration 2 a while earlier, so that the calls that were
-- under way then have ended.
DROP FUNCTION IF EXISTS sessionsql.list_subject_before(text);

INSERT INTO sessionsql.migration (id, name) VALUES (5, 'listed_before');
