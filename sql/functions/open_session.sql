-- What lookup and lookup_batch return, said once: the live session that an id and a secret's hash open, for
-- both to inline. They are what is granted; this stays without SECURITY DEFINER also where roles.sql gives it
-- to them.
CREATE OR REPLACE FUNCTION sessionsql.open_session(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10 ROWS 1
BEGIN ATOMIC
  SELECT
    s.id,
    s.payload,
    s.version,
    s.subject,
    date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
  FROM sessionsql.session AS s
  WHERE s.id = open_session.id
    AND sessionsql.opens(open_session.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp();
END;

COMMENT ON FUNCTION sessionsql.open_session(bigint, bytea) IS
  'The live session that this id and secret hash open; inlined by lookup and lookup_batch.';
