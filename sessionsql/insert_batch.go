package sessionsql

import (
	"context"
	"database/sql"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/coalesce"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// insertMany inserts what callers gathered, in one statement. It is all or nothing: when the server refuses the batch, each
// session is tried apart, so that the one that is at fault fails alone. When the server did not answer, nobody knows whether
// it committed, and nothing is sent twice.
func (s *Store) insertMany(ctx context.Context, calls []*coalesce.Call[newSession, int64]) {
	var params db.InsertBatchParams
	var labels pgtext.Subjects
	labelled := false
	for _, each := range calls {
		session := &each.Question
		params.SecretHashes = append(params.SecretHashes, session.hash)
		params.Payloads = append(params.Payloads, session.payload)
		params.IdleSeconds = append(params.IdleSeconds, sql.NullFloat64{Float64: session.idle, Valid: true})
		params.LifetimeSeconds = append(params.LifetimeSeconds, session.lifetime)
		params.Subjects = append(params.Subjects, session.subject)
		labels = append(labels, nullString(session.label))
		labelled = labelled || session.label != ""
	}
	var rows []db.NewSessionID
	err := s.primary.write(ctx, "insert", func(ctx context.Context, on Tx) (err error) {
		if !labelled { // which an older bundle understands as well
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
		for _, each := range calls {
			each.Err = coalesce.ErrAlone
		}
		return
	}
	ids := make(map[hash]int64, len(rows))
	for _, row := range rows {
		ids[hash(row.SecretHash)] = row.ID
	}
	for _, each := range calls {
		id, inserted := ids[each.Question.hash]
		each.Answer, each.Err = id, err
		if err == nil && !inserted {
			each.Err = &Error{Op: "insert", Node: s.primary.name, detail: "the server returned no id"}
		}
	}
}
