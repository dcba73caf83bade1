-- The signatures that 0.1.0 had and that are not replaced, because their successors take another parameter:
-- with both, a call that names fewer parameters than either is ambiguous. It comes after the functions, which
-- no longer call them.
--
-- A body of 0.1.0 may be under way while this commits. It finds the successors by name, so their new
-- parameters come last and have a default. What a BEGIN ATOMIC body calls it finds by number, so no such
-- function is dropped.
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
