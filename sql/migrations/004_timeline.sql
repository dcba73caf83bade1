-- Clients compare the note on a replica with the primary's timeline; see tables/timeline.sql and
-- views/node.sql. This migration runs after roles.sql, because roles.sql gives the table to the owner of the
-- views.
DO $timeline$
BEGIN
  PERFORM sessionsql.note_timeline();
END
$timeline$;

INSERT INTO sessionsql.migration (id, name) VALUES (4, 'timeline');
