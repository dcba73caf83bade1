-- A budget counts these bytes: value and plain key as they are stored, so compressed, and 120 for the rest of
-- the row, its entry in the index and the free space of both. The body is one expression, so that the planner
-- inlines it.
CREATE OR REPLACE FUNCTION sessionsql.entry_bytes(value bytea, plain_key bytea)
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 120 + COALESCE(pg_column_size(entry_bytes.value), 0)
    + COALESCE(pg_column_size(entry_bytes.plain_key), 0);
END;

COMMENT ON FUNCTION sessionsql.entry_bytes(bytea, bytea) IS 'Returns the bytes of an entry that a budget counts.';
