-- One new session; returns its id. The client made the secret and sends only SHA-256 of it, so nothing that this server
-- stores, logs or replicates opens a session.
--
-- Promises: a durable => true insert leaves the caller's transaction as durable as it was; otherwise the commit does not
-- wait for the disk, and a crash within three wal_writer_delay may lose the session, whole and never half. That setting is
-- local to the transaction, so call it with durable => true inside a transaction that does other work too.
--
-- With max_sessions, a subject has at most so many live sessions: the oldest are ended by the newest, in the same statement.
--
-- Bad input is refused by name before it reaches the table, whose own NOT NULL errors would print the row.
-- PL/pgSQL, because its plans are cached: a SQL function that cannot be inlined is planned at each call before 18.
CREATE OR REPLACE FUNCTION sessionsql.insert(
  secret_hash bytea,
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions integer DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  idle_seconds CONSTANT double precision := date_part('epoch', insert.idle_timeout);
  lifetime_seconds CONSTANT double precision := date_part('epoch', insert.lifetime);
  deadline timestamptz := 'infinity';
  new_id bigint;
BEGIN
  -- The cheap test first: only what looks wrong pays for the call that says what is wrong.
  IF (
    octet_length(insert.secret_hash) = 32
    AND insert.payload IS NOT NULL
    AND idle_seconds > 0 AND idle_seconds <= 3155760000
    AND lifetime_seconds IS NULL
    AND insert.subject IS NULL
    AND insert.max_sessions IS NULL
  ) IS NOT TRUE THEN
    PERFORM sessionsql.check_insert(
      insert.secret_hash, insert.payload, idle_seconds, lifetime_seconds, insert.subject, insert.max_sessions
    );
  END IF;

  IF lifetime_seconds IS NOT NULL THEN
    deadline := statement_timestamp() + make_interval(secs => lifetime_seconds);
  END IF;

  IF insert.durable IS NOT TRUE THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;

  IF insert.max_sessions IS NOT NULL THEN
    -- Two logins of one subject at once would not see each other, and both stay.
    PERFORM pg_advisory_xact_lock(hashtextextended(insert.subject, 7309453286151577203));
  END IF;

  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload
  )
  VALUES (
    sessionsql.next_expiry(idle_seconds, deadline),
    deadline,
    statement_timestamp(),
    idle_seconds,
    1,
    insert.secret_hash,
    insert.subject,
    insert.payload
  )
  RETURNING s.id INTO new_id;

  IF insert.max_sessions IS NOT NULL THEN
    PERFORM sessionsql.evict_subject(insert.subject, insert.max_sessions);
  END IF;

  RETURN new_id;
END
$function$;

COMMENT ON FUNCTION sessionsql.insert(bytea, text, interval, interval, text, boolean, integer) IS
  'Inserts a session and returns its id. Commits asynchronously unless durable.';
