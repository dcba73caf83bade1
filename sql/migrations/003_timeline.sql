-- Clients compare a replica's note of the timeline with the primary's own: see tables/timeline.sql and
-- views/node.sql.
DO $timeline$
BEGIN
  PERFORM sessionsql.note_timeline();
END
$timeline$;

INSERT INTO sessionsql.migration (id, name) VALUES (3, 'timeline');
