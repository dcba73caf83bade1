-- The live sessions that these ids and secret hashes open, element by element: ids[i] goes with
-- secret_hashes[i]. Elements that open nothing yield no row. Give each id once: a row carries its id and not
-- which of two hashes opened it.
--
-- A pure SELECT, valid on a replica and inlined into its caller like lookup. Two things keep a prepared
-- statement of it at one plan, which finds each row by its id, for batches of any length on a table of any
-- size:
--   - The arrays pass through a SELECT, where the planner does not look at their lengths. It would find short
--     batches worth a plan of their own at each call, which takes longer than they do.
--   - OFFSET 0 keeps it from joining in any way but row by row. A plan that was made while the table was
--     empty would otherwise be a scan of the whole table, and stay one until the table is analyzed.
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
  'The live sessions that these ids and secret hashes open, in any order.';
