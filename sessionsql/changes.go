package sessionsql

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
)

const (
	// pollsPerStaleness is how often the Store polls in MaxStaleness, so that a lease outlives a late poll.
	pollsPerStaleness = 4

	// barredPollPause is the pause after a poll of a server that is a router, or has no function to poll with
	// or no privilege for it. The server logs each such poll.
	barredPollPause = 10 * time.Second
)

// A changeReader is where the loop stands in the log of changes.
type changeReader struct {
	epoch string         // empty before the first poll that succeeds
	last  sql.NullString // the last snapshot; null outside of an epoch
}

// changesLoop polls until the Store is closed. An outage is logged by the probes.
func (s *Store) changesLoop(ctx context.Context) {
	polling := condition{
		bad: "changes by other programs are not seen", good: "changes by other programs are seen again",
	}
	var reader changeReader
	for {
		err := recovered(func() error { return s.pollChanges(ctx, &reader) })
		if s.stopped() {
			return
		}
		if !errors.Is(err, ErrUnavailable) {
			s.log.note(&polling, err)
		}
		pause := s.options.NearCache.MaxStaleness / pollsPerStaleness
		var refused *Error
		if errors.Is(err, ErrNotInstalled) || errors.Is(err, ErrRouter) ||
			errors.As(err, &refused) && refused.SQLState == "42501" {
			pause = max(pause, barredPollPause)
		}
		if !s.sleep(ctx, jitter(pause)) {
			return
		}
	}
}

// pollChanges asks the primary for the sessions and entries that were ended or written since the last poll.
// It marks each as recently written, so that no later lookup reads an older row from a replica, and then
// drops it from the near cache: a lookup that begins after the drop finds the mark. The lease counts from the
// begin of the poll, because a change after that may be missing.
func (s *Store) pollChanges(ctx context.Context, reader *changeReader) error {
	begun := now()
	ctx, cancel := context.WithTimeout(ctx, s.options.NearCache.MaxStaleness)
	defer cancel()
	var feed db.ChangeFeed
	err := s.upkeep.read(ctx, "changes", func(ctx context.Context, on Tx) (err error) {
		if err = s.refuseRouter(ctx, on); err == nil {
			feed, err = s.queries.Changes(ctx, on, reader.last)
		}
		return err
	})
	switch {
	case errors.Is(err, sql.ErrNoRows): // the epoch has ended, and the next poll finds another
		reader.last = sql.NullString{}
		s.near.dropAll()
		return nil
	case err != nil:
		return err
	case feed.Everything || feed.Epoch != reader.epoch || !reader.last.Valid:
		// A Store that has just been opened without a near cache reads from replicas at once.
		if s.near.entries != nil || reader.epoch != "" {
			s.others.markAll()
		}
		s.near.dropAll()
	default:
		keys := make([]key, len(feed.IDs))
		for i, id := range feed.IDs {
			keys[i].id = id
		}
		s.others.mark(keys...)
		entries := make([]entryKey, len(feed.Keys))
		for i, hash := range feed.Keys {
			entries[i].hash = hash
		}
		s.others.markEntries(entries...)
		s.near.drop(keys...)
		s.near.dropEntries(entries...)
	}
	*reader = changeReader{feed.Epoch, sql.NullString{String: feed.Snapshot, Valid: true}}
	s.near.renew(begun)
	return nil
}

// pollsWork reports whether the last poll is so recent that the near cache has a lease. If not, the primary
// is probably away.
func (s *Store) pollsWork() bool {
	polled := s.near.polled.Load()
	return polled != nil && now().since(*polled) < s.near.staleness
}

// noteWrite is called after the server may have ended or written sessions, and before the caller learns of
// it. The mark comes first, as in pollChanges.
func (s *Store) noteWrite(keys ...key) {
	s.recent.mark(keys...)
	s.near.drop(keys...)
}

// noteEntries is noteWrite for cache entries.
func (s *Store) noteEntries(keys ...entryKey) {
	s.recent.markEntries(keys...)
	s.near.dropEntries(keys...)
}

// noteSubjectWrite is noteWrite for sessions of a subject whose ids are unknown.
func (s *Store) noteSubjectWrite(subject string) {
	s.recent.markSubject(subject)
	s.near.dropSubject(subject)
}
