-- name: RevokeSubject :one
SELECT sessionsql.revoke_subject(sqlc.arg(subject)::varchar, sqlc.narg(keep_id)::bigint) AS revoked;
