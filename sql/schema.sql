-- The bundle's schema, in a file of its own because an extension's script must not create it.
CREATE SCHEMA sessionsql;
