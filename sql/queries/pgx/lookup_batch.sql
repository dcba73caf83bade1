-- LookupBatch is the call of the same name in package db, for pgx without database/sql. pgx sends arrays in
-- binary form only as arrays, so the parameters here are not the domains that tell sqlc their Go types there.
-- Types are qualified, because any search_path may be set.
-- name: LookupBatch :many
SELECT l.id, l.payload, l.version, l.subject, l.expires_in
FROM sessionsql.lookup_batch(sqlc.arg(ids)::bigint[], sqlc.arg(secret_hashes)::pg_catalog.bytea[]) AS l;
