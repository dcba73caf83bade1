-- sqlc takes the Go type of a parameter from the name of its domain, so the queries in sql/queries cast to
-- these domains. A bare bigint[] would link a second driver into the program of every user. The functions
-- take plain arrays and text.
CREATE DOMAIN sessionsql.id_list AS bigint[];
CREATE DOMAIN sessionsql.hash_list AS bytea[];
CREATE DOMAIN sessionsql.payload AS text;
CREATE DOMAIN sessionsql.payload_list AS text[];
CREATE DOMAIN sessionsql.seconds_list AS double precision[];
CREATE DOMAIN sessionsql.subject_list AS text[];
CREATE DOMAIN sessionsql.version_list AS integer[];
