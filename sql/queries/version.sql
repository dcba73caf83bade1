-- name: Version :one
SELECT sessionsql.version() AS version;
