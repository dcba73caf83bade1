-- An unknown id, a wrong secret and an expired session yield no row, so that a caller cannot tell them apart.
--
-- The function is a pure SELECT, so it runs on a replica. It has no SECURITY DEFINER and no SET clause and is
-- not STRICT, so that the planner inlines it and a call costs no more than the bare query. BEGIN ATOMIC binds
-- every name at creation, so no search_path can redirect it.
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
  'Returns the live session that an id and a secret hash open, or no row.';
