-- The timeline that the primary writes on, noted in a row. A replica that has replayed the note follows the
-- server that wrote it, and nothing else tells a client that without further privileges. One row.
CREATE TABLE sessionsql.timeline (
  singleton boolean PRIMARY KEY DEFAULT true,
  noted integer NOT NULL DEFAULT 0
);

COMMENT ON TABLE sessionsql.timeline IS
  'The timeline of the primary, as it was last noted; one row, never more.';
COMMENT ON COLUMN sessionsql.timeline.singleton IS
  'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.timeline.noted IS
  'A number that every promotion raises; 0 before the first note.';

INSERT INTO sessionsql.timeline (singleton) VALUES (true);
