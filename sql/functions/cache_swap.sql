-- One result tells three outcomes apart, as in update_payload: 1 if the entry had the old value and was
-- written; 0 (a conflict) if it has another value; -1 if there is no such live entry. A null value deletes
-- the entry, as cache_delete_batch does.
--
-- Promises: never resurrects an entry. The row is locked before it is judged. Commits asynchronously unless
-- durable, and synchronously for a final delete.
CREATE OR REPLACE FUNCTION sessionsql.cache_swap(
  key uuid,
  old_hash bytea,
  value bytea,
  ttl_seconds double precision DEFAULT NULL,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  locked record;
BEGIN
  IF (octet_length(cache_swap.old_hash) = 32 AND sessionsql.is_ttl(cache_swap.ttl_seconds)) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_swap: old_hash must be a SHA-256 hash, and ttl at most 100 years';
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_swap.durable);
  SELECT
    e.value,
    e.expires_at
  INTO locked
  FROM sessionsql.cache_entry AS e
  WHERE e.key = sessionsql.at_home(cache_swap.key)
  FOR UPDATE OF e;
  IF NOT FOUND OR locked.value IS NULL OR locked.expires_at <= clock_timestamp() THEN
    RETURN -1;
  ELSIF sha256(locked.value) <> cache_swap.old_hash THEN
    RETURN 0;
  END IF;

  IF cache_swap.value IS NULL THEN
    PERFORM sessionsql.cache_delete_batch(ARRAY[cache_swap.key], cache_swap.final, cache_swap.durable);
  ELSE
    UPDATE sessionsql.cache_entry AS e
    SET expires_at = sessionsql.cache_expiry(cache_swap.ttl_seconds),
        value = cache_swap.value
    WHERE e.key = cache_swap.key;
    IF sessionsql.first_near_key() <= cache_swap.key THEN
      PERFORM sessionsql.log_entries(ARRAY[cache_swap.key]);
    END IF;
  END IF;
  RETURN 1;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_swap(uuid, bytea, bytea, double precision, boolean, boolean) IS
  'Writes an entry that has the old value; returns 1, 0 (conflict) or -1 (gone).';
