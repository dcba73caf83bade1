-- Lets the commit of the caller's transaction not wait for the disk, unless durable. It does so only while
-- the transaction has written nothing: a logout, or whatever else was written before in the same transaction,
-- keeps its durability.
--
-- The setting is local to the transaction and made here, because a SET clause of a function ends before the
-- commit. An expression and not statements, so that it is inlined.
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
  'Lets the transaction commit without waiting for the disk, unless durable or written in already.';
