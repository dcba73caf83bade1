-- name: NoteTimeline :exec
SELECT sessionsql.note_timeline();
