-- Prints the WAL bytes of one entry for each write of cache entries: 50,000 of 200 bytes, in batches of 64.
--
--     psql -X -q -f scripts/bench/cache_wal.sql
--
-- It needs an empty database with the bundle, and a superuser for the checkpoints. The load of the machine
-- does not matter, because WAL is counted and not time.
ALTER TABLE sessionsql.cache_entry SET (autovacuum_enabled = off);
CREATE TEMP TABLE entry AS SELECT md5(i::text)::uuid AS key, i FROM generate_series(1, 50000) AS i;

CREATE PROCEDURE pg_temp.measure(what text, statement text)
LANGUAGE plpgsql
AS $$
DECLARE
  began pg_lsn;
  batch record;
BEGIN
  COMMIT;
  began := pg_current_wal_insert_lsn();
  FOR batch IN
    SELECT array_agg(e.key) AS keys, count(*)::integer AS size
    FROM entry AS e
    GROUP BY hashint4(e.i) % (50000 / 64)
  LOOP
    EXECUTE statement USING batch.keys, batch.size;
    COMMIT;
  END LOOP;
  RAISE NOTICE '%: %', what, round((pg_current_wal_insert_lsn() - began) / (SELECT count(*) FROM entry));
END
$$;

CREATE FUNCTION pg_temp.set_to(letter text, slack integer)
RETURNS text
LANGUAGE sql
RETURN format(
  'SELECT count(*) FROM sessionsql.cache_set_batch('
  '$1, array_fill(1, ARRAY[$2]), array_fill(repeat(%L, 200)::bytea, ARRAY[$2]),'
  'array_fill(1800::float8, ARRAY[$2]), slack_seconds => array_fill(%s::float8, ARRAY[$2]))',
  letter, slack
);

CREATE FUNCTION pg_temp.touch_for(seconds integer)
RETURNS text
LANGUAGE sql
RETURN format('SELECT sessionsql.cache_touch_batch($1, array_fill(%s::float8, ARRAY[$2]))', seconds);

CHECKPOINT;
CALL pg_temp.measure('set of a new entry, after a checkpoint', pg_temp.set_to('x', 0));
CALL pg_temp.measure('overwrite', pg_temp.set_to('y', 0));
CHECKPOINT;
CALL pg_temp.measure('overwrite, after a checkpoint', pg_temp.set_to('z', 0));
CALL pg_temp.measure('set of the same value within the slack', pg_temp.set_to('z', 600));
CALL pg_temp.measure('touch that is due', pg_temp.touch_for(3600));
CALL pg_temp.measure('touch that is not due', pg_temp.touch_for(3600));
CHECKPOINT;
CALL pg_temp.measure('touch that is due, after a checkpoint', pg_temp.touch_for(36000));
CALL pg_temp.measure('final delete', 'SELECT count(*) FROM sessionsql.cache_delete_batch($1, true)');
CALL pg_temp.measure('set that a tombstone refuses', pg_temp.set_to('y', 0));
