package sessionsql

import (
	"context"
	"database/sql"

	"github.com/sessionsql/postgres/db"
)

// Health is the state of the session table on the primary. It is cheap to read, because no row is counted.
type Health struct {
	EstimatedRows  int64        // of the last vacuum or analyze, expired sessions included
	HeapBytes      int64        // the table with its TOAST table
	IndexBytes     int64        // all indexes of the table
	DeadTuples     int64        // row versions that vacuum has not removed yet
	HotRatio       float64      // share of updates that touched no index, 0 to 1; watch below 0.99
	LastAutovacuum sql.NullTime // when autovacuum last finished on this table
	OldestXminAge  int64        // transactions since the oldest snapshot that holds vacuum back
	OldestExpired  sql.NullTime // earliest expiry that the reaper met in its last whole lap
	LastLapEndedAt sql.NullTime // when the reaper last ended a lap
	WraparoundAge  int64        // transactions since the table was last frozen
}

// Health reads the view sessionsql.health on the primary. With roles.sql it needs the role
// sessionsql_monitor. It returns ErrRouter or ErrUnavailable.
func (s *Store) Health(ctx context.Context) (Health, error) {
	if !s.calls.enter() {
		return Health{}, ErrClosed
	}
	defer s.calls.leave()
	var row db.HealthRow
	err := s.primary.read(ctx, "health", func(ctx context.Context, on Tx) (err error) {
		if err = s.refuseRouter(ctx, on); err == nil {
			row, err = s.queries.Health(ctx, on)
		}
		return err
	})
	if err != nil {
		return Health{}, s.countError("health", err)
	}
	return Health{
		EstimatedRows:  row.EstimatedRows,
		HeapBytes:      row.HeapBytes,
		IndexBytes:     row.IndexBytes,
		DeadTuples:     row.DeadTuples.Int64,
		HotRatio:       row.HotRatio.Float64,
		LastAutovacuum: row.LastAutovacuum,
		OldestXminAge:  row.OldestXminAge.Int64,
		OldestExpired:  row.OldestExpired,
		LastLapEndedAt: row.LastLapEndedAt,
		WraparoundAge:  row.WraparoundAge,
	}, nil
}
