-- Concurrent logouts of an application share one round trip, one commit record and one row of the log.
--
-- The result has the ids of the sessions that were ended. Another one was not ended, because it is not alive,
-- opens by its previous secret alone, or is locked by another transaction. revoke then ends it, or says that
-- there is none. Pass each id once, because a row carries its id and not its hash.
--
-- Promises: what revoke promises, and never waits for a row, so it cannot deadlock under any plan.
CREATE OR REPLACE FUNCTION sessionsql.revoke_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length, and leaves only plans that find each row by its id; see
-- update_payload_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
DECLARE
  revoked bigint[];
BEGIN
  PERFORM sessionsql.commit_synchronously();

  WITH mine AS MATERIALIZED (
    SELECT
      s.id,
      k.secret_hash
    FROM unnest(revoke_batch.ids, revoke_batch.secret_hashes) AS k (id, secret_hash)
    JOIN sessionsql.session AS s ON s.id = sessionsql.at_home(k.id)
    WHERE s.secret_hash = k.secret_hash
      AND s.expires_at > clock_timestamp()
    FOR UPDATE OF s SKIP LOCKED
  ), ended AS (
    DELETE FROM sessionsql.session AS s
    USING mine AS m
    WHERE s.id = m.id
      AND s.secret_hash = m.secret_hash
      AND s.expires_at > clock_timestamp()
    RETURNING s.id
  )
  SELECT array_agg(e.id)
  INTO revoked
  FROM ended AS e;

  IF revoked IS NOT NULL THEN
    INSERT INTO sessionsql.change (ids) VALUES (revoked);
    RETURN QUERY SELECT unnest(revoked);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_batch(bigint[], bytea[]) IS
  'Revokes sessions and returns the ids of those that it ended. Commits synchronously.';
