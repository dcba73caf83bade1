-- Many new sessions in one statement, one element of each array a session; returns (id, secret_hash) of each. Callers of
-- an application that insert at the same moment share one round trip and one commit record.
--
-- A null element of lifetime_seconds or subjects means none. All or nothing: one bad element fails the statement, and
-- nothing of it is kept.
CREATE OR REPLACE FUNCTION sessionsql.insert_batch(
  secret_hashes bytea[],
  payloads text[],
  idle_seconds double precision[],
  lifetime_seconds double precision[],
  subjects text[],
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.new_session_id
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
BEGIN
  IF insert_batch.durable IS NOT TRUE THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;

  -- Arrays of different lengths are padded with nulls by unnest, and a null is refused like any other bad element.
  PERFORM sessionsql.check_insert(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject)
  FROM unnest(
    insert_batch.secret_hashes,
    insert_batch.payloads,
    insert_batch.idle_seconds,
    insert_batch.lifetime_seconds,
    insert_batch.subjects
  ) AS n (secret_hash, payload, idle, lifetime, subject)
  WHERE NOT sessionsql.is_insertable(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject, NULL);

  RETURN QUERY
  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload
  )
  SELECT
    sessionsql.next_expiry(n.idle, sessionsql.deadline_after(n.lifetime)),
    sessionsql.deadline_after(n.lifetime),
    statement_timestamp(),
    n.idle,
    1,
    n.secret_hash,
    n.subject,
    n.payload
  FROM unnest(
    insert_batch.secret_hashes,
    insert_batch.payloads,
    insert_batch.idle_seconds,
    insert_batch.lifetime_seconds,
    insert_batch.subjects
  ) AS n (secret_hash, payload, idle, lifetime, subject)
  RETURNING s.id, s.secret_hash;
END
$function$;

COMMENT ON FUNCTION sessionsql.insert_batch(bytea[], text[], double precision[], double precision[], text[], boolean) IS
  'Inserts many sessions; returns the id and hash of each. Commits asynchronously unless durable.';
