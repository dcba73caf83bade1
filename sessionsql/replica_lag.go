package sessionsql

import "time"

// primaryPositions are the positions of the primary in the WAL, with the time at which a probe found each. A
// replica's lag is the age of the first position that it has not replayed, so an idle primary causes no lag.
type primaryPositions []primaryPosition

type primaryPosition struct {
	at    time.Time
	bytes int64
	first bool // when it was written is unknown
}

// add adds a position. It forgets the positions that are older than the bound, except the newest of them, by
// which a lag beyond the bound shows.
func (p *primaryPositions) add(at time.Time, bytes int64, bound time.Duration) {
	kept := *p
	if n := len(kept); n > 0 && bytes < kept[n-1].bytes {
		kept = nil // because positions of different primaries do not compare
	}
	kept = append(kept, primaryPosition{at, bytes, len(kept) == 0})
	for len(kept) > 1 && at.Sub(kept[1].at) > bound {
		kept = kept[1:]
	}
	*p = kept
}

// lagUnknown reports whether a replica lacks what the primary had at the first position.
func (p primaryPositions) lagUnknown(replayed int64) bool { return p[0].first && p[0].bytes > replayed }

func (p primaryPositions) lag(now time.Time, replayed int64) time.Duration {
	for _, position := range p {
		if position.bytes > replayed {
			return now.Sub(position.at)
		}
	}
	return 0
}
