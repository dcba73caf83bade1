package sessionsql

import (
	"context"
	"database/sql"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// insertMany inserts a batch in one statement. When the server refuses the batch, it has inserted none, so
// each caller tries alone, and only the faulty session fails. When the server does not answer, it may have
// committed, so nothing is sent twice.
func (s *Store) insertMany(ctx context.Context, calls []*coalesce.Call[newSession, int64]) {
	var params db.InsertBatchParams
	var labels pgtext.Subjects
	labelled := false
	for _, call := range calls {
		session := &call.Question
		params.SecretHashes = append(params.SecretHashes, session.hash)
		params.Payloads = append(params.Payloads, session.payload)
		idle := sql.NullFloat64{Float64: session.idleSeconds, Valid: true}
		params.IdleSeconds = append(params.IdleSeconds, idle)
		params.LifetimeSeconds = append(params.LifetimeSeconds, session.lifetimeSeconds)
		params.Subjects = append(params.Subjects, session.subject)
		labels = append(labels, nullString(session.label))
		labelled = labelled || session.label != ""
	}
	var rows []db.NewSessionID
	err := s.primary.write(ctx, "insert", func(ctx context.Context, on Tx) (err error) {
		if !labelled { // older bundles have this signature too
			rows, err = s.queries.InsertBatch(ctx, on, params)
			return err
		}
		rows, err = s.queries.InsertBatchLabelled(ctx, on, db.InsertBatchLabelledParams{
			SecretHashes:    params.SecretHashes,
			Payloads:        params.Payloads,
			IdleSeconds:     params.IdleSeconds,
			LifetimeSeconds: params.LifetimeSeconds,
			Subjects:        params.Subjects,
			Labels:          labels,
		})
		return err
	})
	if refused(err) {
		for _, call := range calls {
			call.Err = coalesce.ErrAlone
		}
		return
	}
	ids := make(map[hash]int64, len(rows))
	for _, row := range rows {
		ids[hash(row.SecretHash)] = row.ID
	}
	for _, call := range calls {
		id, inserted := ids[call.Question.hash]
		call.Answer, call.Err = id, err
		if err == nil && !inserted {
			call.Err = &Error{Op: "insert", Node: s.primary.name, detail: "the server returned no id"}
		}
	}
}
