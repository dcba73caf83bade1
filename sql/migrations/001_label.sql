-- Users tell their sessions apart by a label. The new column locks everybody out of the table for a moment,
-- but rewrites no row.
ALTER TABLE sessionsql.session ADD COLUMN label text;

COMMENT ON COLUMN sessionsql.session.label IS
  'Name by which a user tells their sessions apart ("Firefox on Linux"); null if none was given.';

INSERT INTO sessionsql.migration (id, name) VALUES (1, 'label');
