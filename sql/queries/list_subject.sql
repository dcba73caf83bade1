-- name: ListSubject :many
SELECT l.id, l.created_at, l.expires_in, l.label
FROM sessionsql.list_subject(sqlc.arg(subject)::varchar) AS l;
