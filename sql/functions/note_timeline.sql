-- A promotion raises the timeline's number. A Store calls this when the note differs from the primary's
-- timeline, so that each replica shows the timeline that it follows.
CREATE OR REPLACE FUNCTION sessionsql.note_timeline()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  UPDATE sessionsql.timeline AS t
  SET noted = n.timeline
  FROM sessionsql.node AS n
  WHERE t.noted <> n.timeline;
END;

COMMENT ON FUNCTION sessionsql.note_timeline() IS
  'Notes the timeline of this primary, for its replicas to show.';
