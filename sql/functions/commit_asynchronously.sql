-- A transaction that has already written keeps its durability, because the earlier write may be a logout.
--
-- The setting lasts until the transaction ends. A SET clause would end with the function, and so before the
-- commit. The body is one expression, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.commit_asynchronously(durable boolean)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT CASE
    WHEN commit_asynchronously.durable IS NOT TRUE AND pg_current_xact_id_if_assigned() IS NULL
      THEN set_config('synchronous_commit', 'off', true)
  END;
END;

COMMENT ON FUNCTION sessionsql.commit_asynchronously(boolean) IS
  'Makes the commit asynchronous, unless durable or after an earlier write of the transaction.';
