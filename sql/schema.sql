-- The schema has a file of its own, because the script of an extension must not create it.
CREATE SCHEMA sessionsql;
