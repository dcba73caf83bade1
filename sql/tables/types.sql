-- Names for the parameters that cross from a client as text. The functions take plain arrays and text; only
-- the queries in sql/queries cast to these domains, because the name tells sqlc which Go type to generate
-- (FACTS of the design: a bare bigint[] parameter would link a second driver into every user's program).
CREATE DOMAIN sessionsql.id_list AS bigint[];
CREATE DOMAIN sessionsql.hash_list AS bytea[];
CREATE DOMAIN sessionsql.payload AS text;
CREATE DOMAIN sessionsql.payload_list AS text[];
CREATE DOMAIN sessionsql.seconds_list AS double precision[];
CREATE DOMAIN sessionsql.subject_list AS text[];
CREATE DOMAIN sessionsql.version_list AS integer[];
