-- A primary that does not own a session must never say that there is no such session, because its owner may
-- have it. The SQLSTATE is the bundle's own, so that a client tells it from every other error.
CREATE OR REPLACE FUNCTION sessionsql.elsewhere(asked anyelement)
RETURNS anyelement
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'SQ001',
    MESSAGE = format(
      'sessionsql: this %s belongs to another primary',
      CASE
        WHEN pg_typeof(elsewhere.asked) IN ('uuid'::regtype, 'uuid[]'::regtype) THEN 'cache entry'
        ELSE 'session'
      END
    ),
    HINT = 'Send the call to its owner, or through a router: see sessionsql.shard_of.';
END
$function$;

COMMENT ON FUNCTION sessionsql.elsewhere(anyelement) IS
  'Raises SQLSTATE SQ001, because another primary owns what was asked for.';
