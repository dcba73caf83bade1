-- name: TouchBatch :one
SELECT sessionsql.touch_batch(sqlc.arg(ids)::sessionsql.id_list) AS touched;
