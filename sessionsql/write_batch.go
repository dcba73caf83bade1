package sessionsql

import (
	"context"
	"errors"

	"github.com/sessionsql/postgres/internal/coalesce"
)

// writeBatch writes for many callers by one statement, which skips locked rows. run sends one question for
// each session, and returns the answer of each session that it wrote. The other callers try alone, because a
// lone write says why it writes nothing, and waits for a locked row. So does every caller when the server
// refuses the batch, or has an older bundle without the statement. When the server does not answer, it may
// have committed, so nothing is sent twice.
//
// On a router every caller writes alone, because each shard commits by itself, and a second attempt would
// conflict with what a failed batch has written.
func writeBatch[Q, A any](
	ctx context.Context, s *Store, op string, calls []*coalesce.Call[Q, A], keyOf func(*Q) key,
	run func(ctx context.Context, on Tx, questions []*Q) (map[int64]A, error),
) {
	sent := make(map[int64]*coalesce.Call[Q, A], len(calls))
	var questions []*Q
	var keys []key
	for _, call := range calls {
		call.Err = coalesce.ErrAlone
		if k := keyOf(&call.Question); sent[k.id] == nil {
			sent[k.id] = call
			keys = append(keys, k)
			questions = append(questions, &call.Question)
		}
	}
	var answers map[int64]A
	err := s.primary.write(ctx, op, func(ctx context.Context, on Tx) error {
		router, err := s.isRouter(ctx, on)
		if err == nil && !router {
			answers, err = run(ctx, on, questions)
		}
		return err
	})
	s.noteWrite(keys...)
	switch {
	case err == nil:
		for id, answer := range answers {
			if call := sent[id]; call != nil {
				call.Answer, call.Err = answer, nil
			}
		}
	case !refused(err) && !errors.Is(err, ErrNotInstalled):
		for _, call := range sent {
			call.Err = err
		}
	}
}
