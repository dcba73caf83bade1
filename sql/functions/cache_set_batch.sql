-- Each array has one element for each entry. A null TTL means that the entry never expires. Of two entries
-- with one key the last one wins. One bad element fails the whole statement.
--
-- With a slack, an entry is not written, nor even locked, if it has the same value and expires at most that
-- much earlier than asked for, or at most a tenth of a second later. A third of the TTL is the most that
-- counts, because an entry in use would die otherwise.
--
-- The result holds the keys that were refused, because a final delete has left a tombstone there.
--
-- Promises: the expiry is exact. Rows are locked in the order of their keys, as in cache_delete_batch, so
-- that no two calls wait for each other. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_set_batch(
  keys uuid[],
  spaces integer[],
  entry_values bytea[],
  ttl_seconds double precision[],
  plain_keys bytea[] DEFAULT NULL,
  slack_seconds double precision[] DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch. The settings leave only plans that find
-- each row by its key, and the refused keys by a hash.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
AS $function$
DECLARE
  size CONSTANT integer := cardinality(cache_set_batch.keys);
BEGIN
  IF current_setting('array_nulls') = 'off' AND 'NULL'::bytea = ANY (cache_set_batch.plain_keys) THEN
    -- With array_nulls off, a null in the text of an array has become the word NULL, and so a plain key.
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_set_batch: the setting array_nulls must be on';
  END IF;
  -- unnest pads shorter arrays with nulls, and a null TTL is good.
  IF (
    size = ALL (ARRAY[
      cardinality(cache_set_batch.spaces),
      cardinality(cache_set_batch.entry_values),
      cardinality(cache_set_batch.ttl_seconds),
      COALESCE(cardinality(cache_set_batch.plain_keys), size),
      COALESCE(cardinality(cache_set_batch.slack_seconds), size)
    ])
  ) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_set_batch: the arrays must not be null and must have one length';
  END IF;
  -- This test costs little, because a comparison takes a whole array; a null element makes it null. Only the
  -- checks within know which element is bad.
  IF (
    '00000000-0000-0000-0000-000000000000' <= ALL (cache_set_batch.keys)
    AND -2147483648 <= ALL (cache_set_batch.spaces)
    AND '' <= ALL (cache_set_batch.entry_values)
    AND ('-Infinity' < ALL (cache_set_batch.ttl_seconds)) IS NOT FALSE
    AND (sessionsql.max_timeout() >= ALL (cache_set_batch.ttl_seconds)) IS NOT FALSE
    AND (0 <= ALL (cache_set_batch.slack_seconds)) IS NOT FALSE
    AND (sessionsql.max_timeout() >= ALL (cache_set_batch.slack_seconds)) IS NOT FALSE
  ) IS NOT TRUE THEN
    IF EXISTS (
      SELECT
      FROM unnest(cache_set_batch.slack_seconds) AS s (slack)
      WHERE NOT (s.slack >= 0 AND s.slack <= sessionsql.max_timeout())
    ) THEN
      RAISE invalid_parameter_value USING
        MESSAGE = 'sessionsql.cache_set_batch: slack must be at least 0 and at most 100 years, or null';
    END IF;
    PERFORM sessionsql.check_entry('cache_set_batch', n.key, n.space, n.value, n.ttl)
    FROM unnest(
      cache_set_batch.keys,
      cache_set_batch.spaces,
      cache_set_batch.entry_values,
      cache_set_batch.ttl_seconds
    ) AS n (key, space, value, ttl)
    WHERE n.key IS NULL OR n.space IS NULL OR n.value IS NULL OR NOT sessionsql.is_ttl(n.ttl);
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_set_batch.durable);

  RETURN QUERY
  WITH due AS MATERIALIZED (
    SELECT g.*
    FROM (
      SELECT DISTINCT ON (u.key)
        sessionsql.at_home(u.key) AS key,
        u.space,
        sessionsql.cache_expiry(u.ttl) AS expires_at,
        u.value,
        u.plain_key,
        CASE WHEN u.slack > u.ttl / 3 THEN u.ttl / 3 ELSE u.slack END AS slack
      FROM unnest(
        cache_set_batch.keys,
        cache_set_batch.spaces,
        cache_set_batch.entry_values,
        cache_set_batch.ttl_seconds,
        cache_set_batch.plain_keys,
        cache_set_batch.slack_seconds
      ) WITH ORDINALITY AS u (key, space, value, ttl, plain_key, slack, position)
      ORDER BY u.key, u.position DESC
    ) AS g
    WHERE CASE WHEN g.slack > 0 THEN (
      SELECT e.value = g.value
        AND e.plain_key IS NOT DISTINCT FROM g.plain_key
        AND e.expires_at > clock_timestamp()
        AND e.expires_at >= g.expires_at - make_interval(secs => g.slack)
        AND e.expires_at <= g.expires_at + make_interval(secs => LEAST(g.slack, 0.1))
      FROM sessionsql.cache_entry AS e
      WHERE e.key = g.key
    ) END IS NOT TRUE
  ), written AS (
    INSERT INTO sessionsql.cache_entry AS e (key, expires_at, space, value, plain_key)
    SELECT
      d.key,
      d.expires_at,
      d.space,
      d.value,
      d.plain_key
    FROM due AS d
    ORDER BY d.key
    ON CONFLICT (key) DO UPDATE
    SET expires_at = EXCLUDED.expires_at,
        value = EXCLUDED.value,
        plain_key = EXCLUDED.plain_key
    WHERE e.value IS NOT NULL OR e.expires_at <= clock_timestamp()
    RETURNING e.key
  )
  SELECT d.key
  FROM due AS d
  WHERE NOT EXISTS (SELECT FROM written AS w WHERE w.key = d.key);

  IF sessionsql.first_near_key() <= ANY (cache_set_batch.keys) THEN
    PERFORM sessionsql.log_entries(cache_set_batch.keys);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_set_batch(
  uuid[], integer[], bytea[], double precision[], bytea[], double precision[], boolean
) IS
  'Sets many entries; returns the keys that a tombstone refused. Commits asynchronously unless durable.';
