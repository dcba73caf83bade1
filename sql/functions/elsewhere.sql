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
    MESSAGE = 'sessionsql: this session or cache entry belongs to another primary',
    HINT = 'Send the call to its owner, or through a router: the low bits of an id are its shard.';
END
$function$;

COMMENT ON FUNCTION sessionsql.elsewhere(anyelement) IS
  'Raises SQLSTATE SQ001, because another primary owns what was asked for.';
