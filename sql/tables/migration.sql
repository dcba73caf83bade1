-- Which files of sql/migrations have run here, each once.
CREATE TABLE sessionsql.migration (
  id integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE sessionsql.migration IS 'The migrations that have run in this database.';
COMMENT ON COLUMN sessionsql.migration.id IS 'Number of the migration: the first part of its file''s name.';
COMMENT ON COLUMN sessionsql.migration.name IS 'The rest of its file''s name.';
COMMENT ON COLUMN sessionsql.migration.applied_at IS 'When it ran.';
