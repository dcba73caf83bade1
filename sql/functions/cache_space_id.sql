-- A row carries this number instead of the name of its cache. The limit of 63 bytes is that of PostgreSQL's
-- own names.
CREATE OR REPLACE FUNCTION sessionsql.cache_space_id(space text)
RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  name CONSTANT bytea := convert_to(cache_space_id.space, 'UTF8');
BEGIN
  IF (octet_length(name) BETWEEN 1 AND 63) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_space_id: the name of a space must have 1 to 63 bytes';
  END IF;
  RETURN ('x' || encode(substr(sha256(name), 1, 4), 'hex'))::bit(32)::integer;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_space_id(text) IS
  'Returns the number of a space: the first 4 bytes of SHA-256 of its name in UTF-8.';
