-- This reads the whole table, because no index has the space. A lease is no entry. It runs on a replica.
CREATE OR REPLACE FUNCTION sessionsql.cache_len(space integer)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
BEGIN ATOMIC
  SELECT count(*)
  FROM sessionsql.cache_entry AS e
  WHERE e.space = cache_len.space
    AND sessionsql.is_home(e.key)
    AND e.expires_at > statement_timestamp()
    AND e.value IS NOT NULL
    AND (octet_length(e.plain_key) = 0) IS NOT TRUE;
END;

COMMENT ON FUNCTION sessionsql.cache_len(integer) IS 'Returns the number of live entries of a space.';
