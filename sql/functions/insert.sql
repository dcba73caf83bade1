-- One new session; returns its id. The client made the secret and sends only SHA-256 of it, so nothing that
-- this server stores, logs or replicates opens a session.
--
-- Promises: unless durable, the commit does not wait for the disk, and a crash within three wal_writer_delay
-- may lose the session, whole and never half. That goes for all that the same transaction writes after this
-- call, and for nothing that it wrote before. A durable insert leaves the transaction as durable as it was.
--
-- With max_sessions, a subject has at most so many live sessions: the oldest are ended by the newest, in the
-- same statement. It needs a transaction of isolation level read committed.
--
-- Bad input is refused by name before it reaches the table, whose own NOT NULL errors would print the row.
-- PL/pgSQL, because its plans are cached: a SQL function that cannot be inlined is planned at each call
-- before 18.
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
-- No SET search_path, which would cost some 5 % of a call: there is no operator below, every function is
-- qualified, every type is a keyword or qualified, and what has operators is a BEGIN ATOMIC function that is
-- inlined.
AS $function$
DECLARE
  idle_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.idle_timeout);
  lifetime_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.lifetime);
  -- Assigned and not performed, because PL/pgSQL computes a bare expression without starting the executor.
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
  RETURNING s.id INTO new_id;

  IF insert.max_sessions IS NOT NULL THEN
    PERFORM sessionsql.evict_subject(insert.subject, insert.max_sessions, new_id);
  END IF;

  RETURN new_id;
END
$function$;

COMMENT ON FUNCTION sessionsql.insert(bytea, text, interval, interval, text, boolean, integer, text) IS
  'Inserts a session and returns its id. Commits asynchronously unless durable.';
