-- The same call as db.Queries.LookupBatch, for pgx without database/sql. It sends arrays in binary form, but
-- only as arrays: not as the domains which tell sqlc their Go types there. Types are qualified, because any
-- search_path may be set.
-- name: LookupBatch :many
SELECT l.id, l.payload, l.version, l.subject, l.expires_in
FROM sessionsql.lookup_batch(sqlc.arg(ids)::bigint[], sqlc.arg(secret_hashes)::pg_catalog.bytea[]) AS l;
