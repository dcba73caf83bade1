-- This is the first step of max_sessions; end_excess is the second. keep_id is the session of this login. It
-- never counts among the oldest, even if its created_at is earlier than theirs.
--
-- Logins of one subject take turns here until their transactions end, because otherwise no login would see
-- the session of another. This needs isolation level read committed, because an older snapshot would miss the
-- sessions of the logins that this one waited for.
--
-- Rows are locked in id order, keep_id among them, so this cannot deadlock with any function of this bundle.
-- Sequential scans are off, as in end_excess.
CREATE OR REPLACE FUNCTION sessionsql.lock_excess(subject text, max_sessions integer, keep_id bigint)
RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $function$
DECLARE
  excess bigint[];
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE invalid_transaction_state USING
      MESSAGE = 'sessionsql: max_sessions needs a transaction of isolation level read committed';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('sessionsql:' || lock_excess.subject COLLATE "C", 0));

  SELECT array_agg(l.id) FILTER (WHERE l.id IS DISTINCT FROM lock_excess.keep_id) INTO excess
  FROM (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.id = ANY (
        ARRAY(
          SELECT e.id
          FROM sessionsql.session AS e
          WHERE e.subject = lock_excess.subject COLLATE "default"
            AND e.expires_at > clock_timestamp()
            AND sessionsql.is_home(e.id)
            AND e.id IS DISTINCT FROM lock_excess.keep_id
          ORDER BY e.created_at DESC, e.id DESC
          OFFSET lock_excess.max_sessions - num_nonnulls(lock_excess.keep_id)
        ) || lock_excess.keep_id
      )
      AND (s.id = lock_excess.keep_id OR (s.subject = lock_excess.subject COLLATE "default") IS TRUE)
    ORDER BY s.id
    FOR UPDATE OF s
  ) AS l;
  RETURN excess;
END
$function$;

COMMENT ON FUNCTION sessionsql.lock_excess(text, integer, bigint) IS
  'Locks a subject''s oldest live sessions beyond max_sessions; returns their ids, never keep_id.';
