-- cache_increment_by_key adds here. A cast of the value would print it in its error.
CREATE OR REPLACE FUNCTION sessionsql.cache_sum(value bytea, delta bigint)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  digits CONSTANT text := encode(substr(cache_sum.value, 1, 21), 'escape');
  total numeric;
BEGIN
  IF digits COLLATE "C" !~ '^(-|)[0-9]{1,19}$' THEN
    RAISE invalid_text_representation USING
      MESSAGE = 'sessionsql.cache_increment_by_key: the entry holds no decimal number';
  END IF;
  total := digits::numeric + cache_sum.delta;
  IF total NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN
    RAISE numeric_value_out_of_range USING
      MESSAGE = 'sessionsql.cache_increment_by_key: the sum does not fit into 64 bits';
  END IF;
  RETURN decode(total::text, 'escape');
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_sum(bytea, bigint) IS
  'Returns a decimal number plus delta, both as the bytes of text.';
