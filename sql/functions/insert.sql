-- The client makes the secret and sends only its SHA-256, so nothing that this server stores, logs or
-- replicates opens a session.
--
-- Promises: unless durable, the commit does not wait for the disk. A crash may then lose a session inserted
-- within the last three wal_writer_delay, always as a whole. The same holds for all later writes of the
-- transaction, and for no earlier one. A durable insert leaves the transaction as durable as it was.
--
-- With max_sessions, the same statement evicts the subject's oldest live sessions beyond that number. The
-- transaction must have isolation level read committed.
--
-- Bad input is refused before it reaches the table, whose NOT NULL errors would print the row. The language
-- is PL/pgSQL, because it caches plans. Before PostgreSQL 18, each call of a SQL function that is not inlined
-- plans it anew.
CREATE OR REPLACE FUNCTION sessionsql.insert(
  secret_hash bytea,
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions integer DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
-- This function has no SET search_path, because that costs time at each call. The body is safe without it,
-- because it has no operator, every function is qualified, every type is a keyword or qualified, and the
-- functions with operators are BEGIN ATOMIC and inlined.
AS $function$
DECLARE
  idle_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.idle_timeout);
  lifetime_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.lifetime);
  -- An assignment is faster than PERFORM, because PL/pgSQL evaluates this expression without the executor.
  asynchronous CONSTANT pg_catalog.text := sessionsql.commit_asynchronously(insert.durable);
  deadline pg_catalog.timestamptz;
  new_id bigint;
BEGIN
  IF sessionsql.insert_needs_check(
    insert.secret_hash, insert.payload, idle_seconds, lifetime_seconds, insert.subject, insert.max_sessions,
    insert.label
  ) THEN
    PERFORM sessionsql.check_insert(
      insert.secret_hash, insert.payload, idle_seconds, lifetime_seconds, insert.subject, insert.max_sessions,
      insert.label
    );
  END IF;

  deadline := sessionsql.deadline_after(lifetime_seconds);
  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload, label
  )
  VALUES (
    sessionsql.next_expiry(idle_seconds, deadline),
    deadline,
    pg_catalog.clock_timestamp(),
    idle_seconds,
    1,
    insert.secret_hash,
    insert.subject,
    insert.payload,
    insert.label
  )
  RETURNING sessionsql.at_home(s.id) INTO new_id;

  IF insert.max_sessions IS NOT NULL THEN
    PERFORM sessionsql.evict_subject(insert.subject, insert.max_sessions, new_id);
  END IF;

  RETURN new_id;
END
$function$;

COMMENT ON FUNCTION sessionsql.insert(bytea, text, interval, interval, text, boolean, integer, text) IS
  'Inserts a session and returns its id. Commits asynchronously unless durable.';
