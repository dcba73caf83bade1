-- The live sessions that these ids and secret hashes open, element by element: ids[i] goes with secret_hashes[i]. Elements
-- that open nothing yield no row. Give each id once: a row carries its id and not which of two hashes opened it.
--
-- Valid on a replica. PL/pgSQL with one plan for batches of any length: inlined into its caller, the planner would look at
-- the arrays' lengths and plan short batches anew at each call, which takes longer than they do.
CREATE OR REPLACE FUNCTION sessionsql.lookup_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.live_session
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $function$
BEGIN
  RETURN QUERY
  SELECT
    s.id,
    s.payload,
    s.version,
    s.subject,
    date_part('epoch', s.expires_at - statement_timestamp())
  FROM unnest(lookup_batch.ids, lookup_batch.secret_hashes) AS k (id, secret_hash)
  JOIN sessionsql.session AS s ON s.id = k.id
  WHERE sessionsql.opens(k.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp();
END
$function$;

COMMENT ON FUNCTION sessionsql.lookup_batch(bigint[], bytea[]) IS
  'The live sessions that these ids and secret hashes open, in any order.';
