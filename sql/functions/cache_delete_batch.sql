-- A final delete is for keys that must stay dead, as those of sessions: it leaves a tombstone, which no set
-- replaces for an hour, because a request that was under way would otherwise bring a logged-out session back.
-- A key without a row gets no tombstone. Another delete does not end a tombstone.
--
-- Promises: waits for locked rows, because an entry that is being touched must not survive, and takes them in
-- the order of their keys, as cache_set_batch does. A final delete commits synchronously, so that no crash
-- undoes it. Any other commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_delete_batch(
  keys uuid[],
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length, which finds each row by its key; see lookup_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $function$
DECLARE
  locked uuid[];
  ended uuid[];
BEGIN
  IF cache_delete_batch.final THEN
    PERFORM sessionsql.commit_synchronously();
  ELSE
    PERFORM sessionsql.commit_asynchronously(cache_delete_batch.durable);
  END IF;

  SELECT
    array_agg(l.key),
    array_agg(l.key) FILTER (WHERE l.has_value AND l.expires_at > clock_timestamp())
  INTO locked, ended
  FROM (
    SELECT
      e.key,
      e.expires_at,
      e.value IS NOT NULL AS has_value
    FROM sessionsql.cache_entry AS e
    WHERE e.key = ANY (
        CASE
          WHEN EXISTS (
            SELECT FROM unnest(cache_delete_batch.keys) AS k (key) WHERE NOT sessionsql.is_home(k.key)
          ) THEN sessionsql.elsewhere(cache_delete_batch.keys)
          ELSE cache_delete_batch.keys
        END
      )
    ORDER BY e.key
    FOR UPDATE OF e
  ) AS l;

  IF cache_delete_batch.final THEN
    UPDATE sessionsql.cache_entry AS e
    SET expires_at = clock_timestamp() + sessionsql.tombstone_lifetime(),
        value = NULL,
        plain_key = NULL
    WHERE e.key = ANY (locked);
  ELSE
    DELETE FROM sessionsql.cache_entry AS e
    WHERE e.key = ANY (locked)
      AND (e.value IS NOT NULL OR e.expires_at <= clock_timestamp());
  END IF;

  IF sessionsql.first_near_key() <= ANY (cache_delete_batch.keys) THEN
    PERFORM sessionsql.log_entries(cache_delete_batch.keys);
  END IF;
  RETURN QUERY SELECT unnest(ended);
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_delete_batch(uuid[], boolean, boolean) IS
  'Deletes entries and returns the keys that were alive. Commits synchronously if final.';
