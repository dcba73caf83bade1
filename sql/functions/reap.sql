-- A clock hand walks the table by ranges of pages, so that a call costs the same on a table of any size and
-- expires_at needs no index. A call returns no row if another reaper is at work. To keep up with any rate,
-- call it again while it finds work, instead of raising max_rows.
--
-- Promises: deletes at most max_rows rows, reads at most max_pages pages to find them, never waits for a row,
-- and never deletes a session that was extended in the meantime. A locked row is left for the next lap.
--
-- Commits asynchronously unless durable, because the rows that a crash brings back are expired anyway.
CREATE OR REPLACE FUNCTION sessionsql.reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  result sessionsql.last_reap;
BEGIN
  IF (reap.max_rows > 0 AND reap.max_pages > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap: max_rows and max_pages must be positive';
  END IF;

  -- This is first, because the hand's lock counts as a write.
  PERFORM sessionsql.commit_asynchronously(reap.durable);

  result := sessionsql.sweep(
    'sessionsql.session', 'id', 'sessionsql.reaper', reap.max_rows, reap.max_pages
  );
  IF result IS NOT NULL THEN
    PERFORM sessionsql.purge_changes();
    RETURN NEXT result;
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.reap(integer, integer, boolean) IS
  'Deletes expired sessions from the next pages; returns counts. Commits asynchronously unless durable.';
