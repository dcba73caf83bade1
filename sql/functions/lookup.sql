-- The live session that this id and secret hash open; no row = no such live session, whatever the reason.
--
-- A pure SELECT: valid on a replica. No SECURITY DEFINER, no SET clause and not STRICT, so that the planner inlines it and
-- a call costs what the bare query costs; BEGIN ATOMIC binds every name when the function is created, which makes it safe
-- from search_path without a SET clause.
CREATE OR REPLACE FUNCTION sessionsql.lookup(id bigint, secret_hash bytea)
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
  WHERE s.id = lookup.id
    AND sessionsql.opens(lookup.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp();
END;

COMMENT ON FUNCTION sessionsql.lookup(bigint, bytea) IS
  'The live session that this id and secret hash open; no row when there is none.';
