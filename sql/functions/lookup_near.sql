-- This is lookup_batch for a program that keeps the answers. It must not keep what a previous secret opened,
-- because nothing tells it when the grace ends, nor what a standby answered in the place of the primary. The
-- columns are in a function of its own, because a changed result of lookup_batch would break the prepared
-- statements of programs that run.
CREATE OR REPLACE FUNCTION sessionsql.lookup_near(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.near_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
BEGIN ATOMIC
  SELECT
    o.id,
    o.payload,
    o.version,
    o.subject,
    o.expires_in,
    o.is_current,
    pg_is_in_recovery() AS in_recovery
  FROM unnest((SELECT lookup_near.ids), (SELECT lookup_near.secret_hashes)) AS k (id, secret_hash)
  CROSS JOIN LATERAL (
    SELECT
      s.id,
      s.payload,
      s.version,
      s.subject,
      date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
      s.secret_hash = k.secret_hash AS is_current
    FROM sessionsql.session AS s
    WHERE s.id = sessionsql.at_home(k.id)
      AND sessionsql.opens(k.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
      AND s.expires_at > statement_timestamp()
    OFFSET 0
  ) AS o;
END;

COMMENT ON FUNCTION sessionsql.lookup_near(bigint[], bytea[]) IS
  'Returns the live sessions that these ids and secret hashes open, and whether they may be kept.';
