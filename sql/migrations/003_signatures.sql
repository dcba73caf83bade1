-- The successors of these functions of 0.1.0 take another parameter, so CREATE OR REPLACE has left the old
-- ones. A call that names fewer parameters than either would be ambiguous. This migration runs after the new
-- functions are in place, because they no longer call the old ones.
--
-- A body of 0.1.0 may be running while this commits. It finds the successors by name, so their new parameters
-- come last and have a default. A BEGIN ATOMIC body finds the functions that it calls by number, so no such
-- function is dropped here.
DROP FUNCTION IF EXISTS
  sessionsql.insert(bytea, text, interval, interval, text, boolean, integer),
  sessionsql.insert_batch(bytea[], text[], double precision[], double precision[], text[], boolean),
  sessionsql.new_session(text, interval, interval, text, boolean, integer),
  sessionsql.touch_batch(bigint[]),
  sessionsql.rotate(bigint, bytea, bytea, interval, text),
  sessionsql.reap(integer, integer),
  sessionsql.check_insert(bytea, text, double precision, double precision, text, integer),
  sessionsql.evict_subject(text, integer);

INSERT INTO sessionsql.migration (id, name) VALUES (3, 'signatures');
