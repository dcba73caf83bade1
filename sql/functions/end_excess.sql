-- This is the second step of max_sessions; lock_excess is the first. An eviction is a logout, so it makes the
-- commit synchronous. Without an eviction the commit may stay asynchronous.
--
-- Sequential scans are off, because a plan made for a small table would read a grown table whole.
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
    INSERT INTO sessionsql.change (ids) VALUES (end_excess.ids);
    PERFORM sessionsql.commit_synchronously();
  END IF;
  RETURN ended;
END
$function$;

COMMENT ON FUNCTION sessionsql.end_excess(bigint[]) IS
  'Evicts the sessions that lock_excess locked and returns their number.';
