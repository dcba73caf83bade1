-- Many new sessions in one statement, one element of each array a session; returns (id, secret_hash) of each.
-- Callers of an application that insert at the same moment share one round trip and one commit record.
--
-- A null element of lifetime_seconds, subjects or labels means none. All or nothing: one bad element fails
-- the statement, and nothing of it is kept. What durable promises is said in insert.
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
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
BEGIN
  IF current_setting('array_nulls') = 'off' THEN
    -- A null in the text of an array has become the word NULL by now, and somebody's subject.
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.insert_batch: the setting array_nulls must be on';
  END IF;

  -- Arrays of different lengths are padded with nulls by unnest, and a null is refused like any other bad
  -- element.
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
  RETURNING s.id, s.secret_hash;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.insert_batch(bytea[], text[], double precision[], double precision[], text[], boolean, text[]) IS
  'Inserts many sessions; returns the id and hash of each. Commits asynchronously unless durable.';
