-- The cap behind max_sessions, first step: locks the oldest live sessions of a subject that have to end so
-- that it has at most max_sessions with keep_id, and returns their ids. keep_id is the session that this
-- login makes; it never counts among the oldest, whatever the clock says of it. end_excess ends them.
--
-- Logins of one subject take turns here, until their transactions end, or each would not see the other's
-- session. That takes read committed: with a snapshot from before the turn, a login would count without those
-- that it waited for.
--
-- Rows are locked in id order, keep_id among them, so this cannot deadlock with any function of this bundle.
-- No plan may find them otherwise than by an index: a table that grew since the plan was made would be read
-- whole.
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
  'Locks the oldest live sessions of a subject beyond max_sessions, but for keep_id; returns their ids.';
