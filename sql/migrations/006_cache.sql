-- Cache entries come with tables of their own, which lock nobody out. Their functions take arrays, whose Go
-- types sqlc takes from these domains; see tables/types.sql.
CREATE DOMAIN sessionsql.entry_value AS bytea;
CREATE DOMAIN sessionsql.key_list AS uuid[];
CREATE DOMAIN sessionsql.space_list AS integer[];
CREATE DOMAIN sessionsql.value_list AS bytea[];

INSERT INTO sessionsql.migration (id, name) VALUES (6, 'cache');
