-- This pages through a space: pass the last key of a page as after, and null for the first page. Entries
-- whose plain key is not kept do not appear.
--
-- The settings leave only a walk along the index, because a page would otherwise cost a scan and a sort of
-- the whole table. It runs on a replica.
CREATE OR REPLACE FUNCTION sessionsql.cache_list(space integer, after uuid, max_rows integer)
RETURNS SETOF sessionsql.cache_listed
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 100
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $function$
BEGIN
  IF (cache_list.max_rows > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.cache_list: max_rows must be positive';
  END IF;
  RETURN QUERY
  SELECT
    l.key,
    l.plain_key,
    l.value,
    l.expires_in,
    l.space
  FROM sessionsql.cache_listed AS l
  WHERE l.space = cache_list.space
    AND sessionsql.is_home(l.key)
    AND l.key > COALESCE(cache_list.after, '00000000-0000-0000-0000-000000000000')
  ORDER BY l.key
  LIMIT cache_list.max_rows;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_list(integer, uuid, integer) IS
  'Lists live entries of a space whose keys are kept, in the order of their keys, beginning behind a key.';
