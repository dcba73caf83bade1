package sessionsqlscs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// Options adjust a Store. Nil and the zero value are the defaults.
type Options struct {
	// Space names the space of the cache entries, in 1 to 63 bytes. Two session managers with cookies of
	// their own need two. Defaults to "scs".
	Space string

	// Slack is how much earlier than its idle timeout an unused session may end. In return a session that is
	// used without a change is written at most once in that time. It counts for a third of the idle timeout
	// at most. Defaults to a minute; a negative one means none.
	Slack time.Duration

	// KeepTokens stores tokens in plain beside their hashes, which All and SessionManager.Iterate need. Who
	// reads such a table can take over the sessions in it, unless SessionManager.HashTokenInStore is set.
	KeepTokens bool
}

// A Store implements scs.CtxStore, scs.IterableStore and scs.IterableCtxStore. It is safe for concurrent use.
// A method without a context is bounded by [sessionsql.Options].Timeout.
type Store struct {
	cache      *sessionsql.Cache
	slack      time.Duration
	keepTokens bool
	found      foundTable
}

// NewStore returns a Store over cache entries of store. It makes no round trip. With a bad Space, every
// method of the Store returns [sessionsql.ErrOptions].
func NewStore(store *sessionsql.Store, options *Options) *Store {
	o := Options{}
	if options != nil {
		o = *options
	}
	if o.Space == "" {
		o.Space = "scs"
	}
	if o.Slack == 0 {
		o.Slack = time.Minute
	}
	return &Store{
		cache: store.Cache(o.Space, &sessionsql.CacheOptions{
			Final:        true,
			KeepKeys:     o.KeepTokens,
			PrimaryFirst: true, // because scs writes back what it has read
			Slack:        max(o.Slack, 0),
		}),
		slack:      max(o.Slack, 0),
		keepTokens: o.KeepTokens,
		found:      foundTable{seed: maphash.MakeSeed()},
	}
}

// Find is FindCtx without a context.
func (s *Store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// FindCtx returns the data of a live session, and false if there is none.
func (s *Store) FindCtx(ctx context.Context, token string) (data []byte, found bool, err error) {
	if token == "" {
		return nil, false, nil
	}
	slot := s.found.slot(token)
	writes, begun := slot.countWrites(), time.Now()
	entry, err := s.cache.Get(ctx, token)
	switch {
	case errors.Is(err, sessionsql.ErrNoEntry):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	left := entry.ExpiresIn
	slot.keep(writes, digestOf(token, entry.Value), begun.Add(left), time.Now().Add(left))
	return entry.Value, true, nil
}

// Commit is CommitCtx without a context.
func (s *Store) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

// CommitCtx stores the data of a session until expiry, on which the clocks of this program and of the
// database need not agree. An expiry that is past ends the session. A session that was deleted stays ended,
// and then CommitCtx returns nil, because the deletion might as well have come right after it. Data that this
// Store found lately, with an expiry within the slack, is not sent: what another program has committed since
// stays.
func (s *Store) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	slot := s.found.slot(token)
	if !s.keepTokens && slot.spares(digestOf(token, data), expiry, s.slack) {
		return ctx.Err()
	}
	slot.noteWrite()
	defer slot.noteWrite()
	ttl := time.Until(expiry)
	if ttl == 0 {
		ttl = -1 // because 0 means that an entry never expires
	}
	err := s.cache.Set(ctx, token, data, ttl)
	if errors.Is(err, sessionsql.ErrEntryEnded) {
		return nil
	}
	return err
}

// Delete is DeleteCtx without a context.
func (s *Store) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// DeleteCtx ends a session. For an hour no commit brings the session back, and no crash of the database does.
// It returns nil if there is no such session; scs destroys sessions that have no token yet, too.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	slot := s.found.slot(token)
	slot.noteWrite()
	defer slot.noteWrite()
	return s.cache.Delete(ctx, token)
}

// All is AllCtx without a context.
func (s *Store) All() (map[string][]byte, error) { return s.AllCtx(context.Background()) }

// AllCtx returns the data of all live sessions by their tokens. It returns [sessionsql.ErrOptions] without
// Options.KeepTokens.
func (s *Store) AllCtx(ctx context.Context) (map[string][]byte, error) {
	if !s.keepTokens {
		return nil, fmt.Errorf("sessionsql/scs: all: %w: KeepTokens is not set", sessionsql.ErrOptions)
	}
	sessions := map[string][]byte{}
	for entry, err := range s.cache.All(ctx) {
		if err != nil {
			return nil, err
		}
		sessions[entry.Key] = entry.Value
	}
	return sessions, nil
}
