-- A label for each session, so that a user can tell their sessions apart in a list. It locks everybody out of
-- the table for a moment, because every new column does; it rewrites no row.
ALTER TABLE sessionsql.session ADD COLUMN label text;

COMMENT ON COLUMN sessionsql.session.label IS
  'What a user tells their sessions apart by ("Firefox on Linux").';

INSERT INTO sessionsql.migration (id, name) VALUES (1, 'label');
