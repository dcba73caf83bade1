-- A key without a live entry yields no row. Like lookup_batch, this is a pure SELECT that runs on a replica
-- and is inlined, and its prepared plan finds each row by its key; the reasons stand there.
CREATE OR REPLACE FUNCTION sessionsql.cache_get_batch(keys uuid[])
RETURNS SETOF sessionsql.cache_live
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
BEGIN ATOMIC
  SELECT
    o.key,
    o.value,
    o.expires_in
  FROM unnest((SELECT cache_get_batch.keys)) AS k (key)
  CROSS JOIN LATERAL (
    SELECT *
    FROM sessionsql.cache_live AS l
    WHERE l.key = sessionsql.at_home(k.key)
    OFFSET 0
  ) AS o;
END;

COMMENT ON FUNCTION sessionsql.cache_get_batch(uuid[]) IS
  'Returns the live entries of these keys, in any order.';
