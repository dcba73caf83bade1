-- Removes the bundle with every session in it:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/uninstall.sql
--
-- CASCADE reaches objects of your own that depend on the bundle (a view over sessionsql.health, say);
-- PostgreSQL names each of them in a NOTICE, and -1 lets you try it first with ROLLBACK in place of the
-- commit.
DROP SCHEMA IF EXISTS sessionsql CASCADE;
