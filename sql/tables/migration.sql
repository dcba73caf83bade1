-- An installation reads this table, so that each file of sql/migrations runs once.
CREATE TABLE sessionsql.migration (
  id integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE sessionsql.migration IS 'One row per migration that has run in this database.';
COMMENT ON COLUMN sessionsql.migration.id IS 'Number of the migration, from its file''s name.';
COMMENT ON COLUMN sessionsql.migration.name IS 'Name of the migration, from its file''s name.';
COMMENT ON COLUMN sessionsql.migration.applied_at IS 'Time at which the migration ran.';
