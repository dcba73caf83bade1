-- The live sessions that these ids and secret hashes open, element by element: ids[i] goes with secret_hashes[i]. Elements
-- that open nothing yield no row. Give each id once: a row carries its id and not which of two hashes opened it.
--
-- A pure SELECT, inlinable, valid on a replica; the same rules as lookup.
CREATE OR REPLACE FUNCTION sessionsql.lookup_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
BEGIN ATOMIC
  SELECT
    s.id,
    s.payload,
    s.version,
    s.subject,
    date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
  FROM unnest(lookup_batch.ids, lookup_batch.secret_hashes) AS k (id, secret_hash)
  JOIN sessionsql.session AS s ON s.id = k.id
  WHERE sessionsql.opens(k.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp();
END;

COMMENT ON FUNCTION sessionsql.lookup_batch(bigint[], bytea[]) IS
  'The live sessions that these ids and secret hashes open, in any order.';
