-- Notes the timeline that this server writes on, for its replicas to show. A client calls it when it sees
-- that the note is of another: after a promotion, which raises the number.
CREATE OR REPLACE FUNCTION sessionsql.note_timeline()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  UPDATE sessionsql.timeline AS t
  SET noted = n.timeline
  FROM sessionsql.node AS n
  WHERE t.noted <> n.timeline;
END;

COMMENT ON FUNCTION sessionsql.note_timeline() IS 'Notes the timeline that this server writes on.';
