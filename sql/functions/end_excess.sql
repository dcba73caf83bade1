-- The cap behind max_sessions, second step: ends the sessions that lock_excess has locked; returns how many.
-- An eviction is a logout, so it makes the transaction commit synchronously; when there is none, nothing
-- waits.
--
-- No plan may find the rows otherwise than by an index: a table that grew since the plan was made would be
-- read whole.
CREATE OR REPLACE FUNCTION sessionsql.end_excess(ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $function$
DECLARE
  ended bigint;
BEGIN
  DELETE FROM sessionsql.session AS s
  WHERE s.id = ANY (end_excess.ids);

  GET DIAGNOSTICS ended = ROW_COUNT;
  IF ended > 0 THEN
    PERFORM sessionsql.commit_synchronously();
  END IF;
  RETURN ended;
END
$function$;

COMMENT ON FUNCTION sessionsql.end_excess(bigint[]) IS
  'Ends the sessions that lock_excess has locked; returns how many.';
