package sessionsqlscs

import (
	"crypto/sha256"
	"hash/maphash"
	"sync"
	"time"
)

// A foundTable remembers digests of the sessions that were found last, so that a request that changes nothing
// costs no second round trip. Two tokens with one slot forget each other.
type foundTable struct {
	seed  maphash.Seed
	slots [1024]foundSlot
}

type foundSlot struct {
	mu               sync.Mutex
	writes           int // counts the begins and the ends of commits and deletes
	digest           [sha256.Size]byte
	earliest, latest time.Time // bounds of the expiry, since a round trip lies between the clocks
}

func (t *foundTable) slot(token string) *foundSlot {
	return &t.slots[maphash.String(t.seed, token)%uint64(len(t.slots))]
}

// digestOf hashes the token first, so that no part of it can pass for data.
func digestOf(token string, data []byte) [sha256.Size]byte {
	key := sha256.Sum256([]byte(token))
	return sha256.Sum256(append(key[:], data...))
}

// noteWrite forgets what was found. It is called before a write and after it: what a find under way returns
// may be older than the write, and is then not kept.
func (s *foundSlot) noteWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	s.digest = [sha256.Size]byte{}
}

// countWrites is called before a find, and its result goes to keep.
func (s *foundSlot) countWrites() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *foundSlot) keep(writes int, digest [sha256.Size]byte, earliest, latest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes == writes {
		s.digest, s.earliest, s.latest = digest, earliest, latest
	}
}

// spares reports whether a commit would write nothing, by the rule of [sessionsql.CacheOptions].Slack.
func (s *foundSlot) spares(digest [sha256.Size]byte, expiry time.Time, slack time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	slack = min(slack, time.Until(expiry)/3)
	const late = 100 * time.Millisecond
	return slack > 0 && s.digest == digest &&
		!s.earliest.Before(expiry.Add(-slack)) && !s.latest.After(expiry.Add(min(slack, late)))
}
