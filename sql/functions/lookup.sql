-- The live session that this id and secret hash open; no row = no such live session, whatever the reason.
--
-- A pure SELECT: valid on a replica. No SECURITY DEFINER, no SET clause and not STRICT, so that the planner
-- inlines it and a call costs what the bare query costs; BEGIN ATOMIC binds every name when the function is
-- created, which makes it safe from search_path without a SET clause.
CREATE OR REPLACE FUNCTION sessionsql.lookup(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10 ROWS 1
BEGIN ATOMIC
  SELECT
    o.id,
    o.payload,
    o.version,
    o.subject,
    o.expires_in
  FROM sessionsql.open_session(lookup.id, lookup.secret_hash) AS o;
END;

COMMENT ON FUNCTION sessionsql.lookup(bigint, bytea) IS
  'The live session that this id and secret hash open; no row when there is none.';
