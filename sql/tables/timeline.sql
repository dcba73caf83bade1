-- A replica that shows a primary's note follows that primary. A client without special privileges has no
-- other way to learn that.
CREATE TABLE sessionsql.timeline (
  singleton boolean PRIMARY KEY DEFAULT true,
  noted integer NOT NULL DEFAULT 0
);

COMMENT ON TABLE sessionsql.timeline IS 'Last note of the primary''s timeline; one row, never more.';
COMMENT ON COLUMN sessionsql.timeline.singleton IS
  'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.timeline.noted IS
  'Timeline, a number that each promotion raises; 0 before the first note.';

INSERT INTO sessionsql.timeline (singleton) VALUES (true);
