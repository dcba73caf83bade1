-- Every function that takes an id or a key passes it through here, inside the statement that reads or writes
-- the row. That statement holds a lock of the table, for which sessionsql.shard waits. So no write that began
-- under the old ownership lands after the new one. A batch is refused as a whole. A null, which a malformed
-- token gives, finds no row anywhere.
--
-- The function has no SET clause and is not STRICT, so that the planner inlines it. Where this primary owns
-- everything, nothing but the argument is left. For an array that would not hold, so touch_batch and
-- cache_delete_batch ask is_home about its elements themselves.
CREATE OR REPLACE FUNCTION sessionsql.at_home(id bigint)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT CASE
    WHEN sessionsql.is_home(at_home.id) OR at_home.id IS NULL THEN at_home.id
    ELSE sessionsql.elsewhere(at_home.id)
  END;
END;

COMMENT ON FUNCTION sessionsql.at_home(bigint) IS
  'Returns the id of a session that this primary owns, and raises SQLSTATE SQ001 for any other.';

CREATE OR REPLACE FUNCTION sessionsql.at_home(key uuid)
RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT CASE
    WHEN sessionsql.is_home(at_home.key) OR at_home.key IS NULL THEN at_home.key
    ELSE sessionsql.elsewhere(at_home.key)
  END;
END;

COMMENT ON FUNCTION sessionsql.at_home(uuid) IS
  'Returns the key of a cache entry that this primary owns, and raises SQLSTATE SQ001 for any other.';
