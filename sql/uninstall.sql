-- This removes the bundle and every session in it:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/uninstall.sql
--
-- CASCADE also drops objects of your own that depend on the bundle, such as a view over sessionsql.health.
-- PostgreSQL names all dropped objects in a NOTICE. To see them first, add -c ROLLBACK, which undoes the
-- removal.
DROP SCHEMA IF EXISTS sessionsql, sessionsql_router CASCADE;
