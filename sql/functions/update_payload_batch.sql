-- Concurrent callers of an application share one round trip and one commit record. Each array has one element
-- for each session; a null expected version accepts any.
--
-- A session that is not returned was not written, because it is not alive, has another version, or is locked
-- by another transaction. update_payload then gives the reason. Pass each id once, because of two writes to
-- one session either may win.
--
-- Promises: never resurrects a session, and never waits for a row, so it cannot deadlock under any plan.
-- Commits asynchronously unless durable, as insert does.
--
-- The settings leave only plans that find each row by its id, because a plan made for an empty table, or for
-- arrays of another length, would compare each row with every element.
CREATE OR REPLACE FUNCTION sessionsql.update_payload_batch(
  ids bigint[],
  secret_hashes bytea[],
  payloads text[],
  expected_versions integer[],
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.payload_version
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
BEGIN
  -- A null is refused here, because a NOT NULL violation would print the row. unnest pads shorter arrays with
  -- nulls.
  IF cardinality(update_payload_batch.payloads) IS DISTINCT FROM cardinality(update_payload_batch.ids)
    OR array_position(update_payload_batch.payloads, NULL) IS NOT NULL
  THEN
    RAISE null_value_not_allowed USING
      MESSAGE = 'sessionsql.update_payload_batch: every id needs a payload that is not null';
  END IF;

  PERFORM sessionsql.commit_asynchronously(update_payload_batch.durable);

  RETURN QUERY
  WITH mine AS MATERIALIZED (
    SELECT
      s.id,
      w.secret_hash,
      w.payload,
      w.expected_version
    FROM unnest(
      update_payload_batch.ids,
      update_payload_batch.secret_hashes,
      update_payload_batch.payloads,
      update_payload_batch.expected_versions
    ) AS w (id, secret_hash, payload, expected_version)
    JOIN sessionsql.session AS s ON s.id = sessionsql.at_home(w.id)
    WHERE sessionsql.opens_at(
        w.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
      )
      AND s.expires_at > clock_timestamp()
      AND (w.expected_version IS NULL OR s.version = w.expected_version)
    ORDER BY s.id
    FOR NO KEY UPDATE OF s SKIP LOCKED
  ), written AS (
    UPDATE sessionsql.session AS s
    SET payload = m.payload,
        version = s.version + 1,
        expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
    FROM mine AS m
    WHERE s.id = m.id
      AND sessionsql.opens_at(
        m.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
      )
      AND s.expires_at > clock_timestamp()
      AND (m.expected_version IS NULL OR s.version = m.expected_version)
    RETURNING s.id, s.version
  )
  SELECT
    w.id,
    w.version
  FROM written AS w;

  -- The log may name sessions that were not written. To pick those that were would take longer.
  IF FOUND THEN
    INSERT INTO sessionsql.change (ids) VALUES (update_payload_batch.ids);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload_batch(bigint[], bytea[], text[], integer[], boolean) IS
  'Writes many payloads and returns the new version of each. Commits asynchronously unless durable.';
