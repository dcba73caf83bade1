-- Concurrent callers of an application share one round trip and one commit record. Each array has one element
-- for each session.
--
-- A null element of lifetime_seconds, subjects or labels means none. One bad element fails the whole
-- statement. For the promises of durable, see insert.
CREATE OR REPLACE FUNCTION sessionsql.insert_batch(
  secret_hashes bytea[],
  payloads text[],
  idle_seconds double precision[],
  lifetime_seconds double precision[],
  subjects text[],
  durable boolean DEFAULT false,
  labels text[] DEFAULT NULL
)
RETURNS SETOF sessionsql.new_session_id
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
BEGIN
  IF current_setting('array_nulls') = 'off' THEN
    -- With array_nulls off, a null in the text of an array has become the word NULL, and so a subject.
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.insert_batch: the setting array_nulls must be on';
  END IF;

  -- unnest pads shorter arrays with nulls. A null hash, payload or idle timeout is refused as bad input.
  PERFORM sessionsql.check_insert(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject, NULL, n.label)
  FROM unnest(
    insert_batch.secret_hashes,
    insert_batch.payloads,
    insert_batch.idle_seconds,
    insert_batch.lifetime_seconds,
    insert_batch.subjects,
    insert_batch.labels
  ) AS n (secret_hash, payload, idle, lifetime, subject, label)
  WHERE sessionsql.insert_needs_check(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject, NULL, n.label);

  PERFORM sessionsql.commit_asynchronously(insert_batch.durable);

  RETURN QUERY
  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload, label
  )
  SELECT
    sessionsql.next_expiry(n.idle, n.deadline),
    n.deadline,
    clock_timestamp(),
    n.idle,
    1,
    n.secret_hash,
    n.subject,
    n.payload,
    n.label
  FROM (
    SELECT
      u.*,
      sessionsql.deadline_after(u.lifetime) AS deadline
    FROM unnest(
      insert_batch.secret_hashes,
      insert_batch.payloads,
      insert_batch.idle_seconds,
      insert_batch.lifetime_seconds,
      insert_batch.subjects,
      insert_batch.labels
    ) AS u (secret_hash, payload, idle, lifetime, subject, label)
  ) AS n
  RETURNING sessionsql.at_home(s.id), s.secret_hash;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.insert_batch(bytea[], text[], double precision[], double precision[], text[], boolean, text[]) IS
  'Inserts many sessions and returns the id and hash of each. Commits asynchronously unless durable.';
