package sessionsql

import (
	"context"
	"database/sql"

	"github.com/sessionsql/postgres/db"
)

// CacheHealth is the state of the table of cache entries on the primary. It is cheap to read, because no row
// is counted.
type CacheHealth struct {
	EstimatedRows  int64        // of the last vacuum or analyze, expired entries and tombstones included
	HeapBytes      int64        // the table with its TOAST table
	IndexBytes     int64        // the index of keys
	DeadTuples     int64        // row versions that vacuum has not removed yet
	HotRatio       float64      // share of updates that touched no index, 0 to 1
	OldestExpired  sql.NullTime // earliest expiry that the reaper met in its last whole lap
	LastLapEndedAt sql.NullTime // when the reaper last ended a lap
}

// CacheHealth reads the columns about cache entries of the view sessionsql.health, as Health reads the
// others.
func (s *Store) CacheHealth(ctx context.Context) (CacheHealth, error) {
	if !s.calls.enter() {
		return CacheHealth{}, ErrClosed
	}
	defer s.calls.leave()
	var row db.CacheHealthRow
	err := s.primary.read(ctx, "cache health", func(ctx context.Context, on Tx) (err error) {
		if err = s.refuseRouter(ctx, on); err == nil {
			row, err = s.queries.CacheHealth(ctx, on)
		}
		return err
	})
	if err != nil {
		return CacheHealth{}, s.countError("cache health", err)
	}
	return CacheHealth{
		EstimatedRows:  row.CacheRows,
		HeapBytes:      row.CacheHeapBytes,
		IndexBytes:     row.CacheIndexBytes,
		DeadTuples:     row.CacheDeadTuples.Int64,
		HotRatio:       row.CacheHotRatio.Float64,
		OldestExpired:  row.CacheOldestExpired,
		LastLapEndedAt: row.CacheLastLapEndedAt,
	}, nil
}
