-- Clients compare a replica's note of the timeline with the primary's own: see tables/timeline.sql and
-- views/node.sql. It comes after roles.sql: an owner that the views have from there must own the table too.
DO $timeline$
BEGIN
  PERFORM sessionsql.note_timeline();
END
$timeline$;

INSERT INTO sessionsql.migration (id, name) VALUES (4, 'timeline');
