-- The functions that write an entry refuse bad input here, because a NOT NULL violation in the table would
-- print the whole row. No message repeats a value.
CREATE OR REPLACE FUNCTION sessionsql.check_entry(
  caller text,
  key uuid,
  space integer,
  value bytea,
  ttl_seconds double precision
)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  problem CONSTANT text := CASE
    WHEN check_entry.key IS NULL THEN 'key must not be null'
    WHEN check_entry.space IS NULL THEN 'space must not be null'
    WHEN check_entry.value IS NULL THEN 'value must not be null'
    WHEN NOT sessionsql.is_ttl(check_entry.ttl_seconds) THEN 'ttl must be at most 100 years, or null for none'
  END;
BEGIN
  IF problem IS NOT NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = format('sessionsql.%s: %s', check_entry.caller, problem);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.check_entry(text, uuid, integer, bytea, double precision) IS
  'Raises an error that names a bad part of an entry, but never its value.';
