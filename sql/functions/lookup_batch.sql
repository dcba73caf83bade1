-- ids[i] goes with secret_hashes[i]. A pair that opens no session yields no row. Pass each id once, because a
-- row carries its id and not its hash.
--
-- Like lookup, this runs on a replica and is inlined. A prepared statement keeps one plan, which finds each
-- row by its id, for batches of any length and tables of any size:
--   - The arrays pass through a SELECT, which hides their lengths from the planner. Otherwise it would plan
--     each short batch anew, and planning takes longer than the batch.
--   - OFFSET 0 makes the join run row by row. Otherwise a plan made for an empty table would scan the whole
--     table until the next analyze.
CREATE OR REPLACE FUNCTION sessionsql.lookup_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
BEGIN ATOMIC
  SELECT
    o.id,
    o.payload,
    o.version,
    o.subject,
    o.expires_in
  FROM unnest((SELECT lookup_batch.ids), (SELECT lookup_batch.secret_hashes)) AS k (id, secret_hash)
  CROSS JOIN LATERAL (
    SELECT *
    FROM sessionsql.open_session(k.id, k.secret_hash)
    OFFSET 0
  ) AS o;
END;

COMMENT ON FUNCTION sessionsql.lookup_batch(bigint[], bytea[]) IS
  'Returns the live sessions that these ids and secret hashes open, in any order.';
