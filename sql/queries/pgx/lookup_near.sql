-- LookupNear is the call of the same name in package db, for pgx without database/sql; see LookupBatch.
-- name: LookupNear :many
SELECT l.id, l.payload, l.version, l.subject, l.expires_in, l.is_current, l.in_recovery
FROM sessionsql.lookup_near(sqlc.arg(ids)::bigint[], sqlc.arg(secret_hashes)::pg_catalog.bytea[]) AS l;
