package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/db"
)

// lookupRows sends a batch. On a connection of pgx it bypasses database/sql, which costs CPU time because it
// sends arrays as text and scans value by value.
func (s *Store) lookupRows(
	ctx context.Context, on Tx, params db.LookupBatchParams,
) (rows []db.NearSession, err error) {
	sent, err := onPgx(on, func(conn *pgx.Conn) error {
		hashes := make([][]byte, len(params.SecretHashes))
		for i := range hashes {
			hashes[i] = params.SecretHashes[i][:]
		}
		rows, err = s.sendNative(ctx, conn, params.IDs, hashes)
		return err
	})
	if sent || err != nil {
		return rows, err
	}
	if s.near.on() {
		return s.queries.LookupNear(ctx, on, db.LookupNearParams(params))
	}
	found, err := s.queries.LookupBatch(ctx, on, params)
	rows = make([]db.NearSession, len(found))
	for i := range found {
		rows[i] = notKept(found[i])
	}
	return rows, err
}

// notKept makes a row of the wider type from one that does not say whether the near cache may keep it.
func notKept(row db.LiveSession) db.NearSession {
	return db.NearSession{
		ID:        row.ID,
		Payload:   row.Payload,
		Version:   row.Version,
		Subject:   row.Subject,
		ExpiresIn: row.ExpiresIn,
	}
}

// onPgx runs send if the connection is one of pgx, and reports whether it did.
func onPgx(on Tx, send func(*pgx.Conn) error) (sent bool, err error) {
	conn, ok := on.(*sql.Conn)
	if !ok {
		return false, nil
	}
	err = conn.Raw(func(c any) error {
		var driven *stdlib.Conn
		if driven, sent = c.(*stdlib.Conn); !sent {
			return nil
		}
		err := send(driven.Conn())
		if err != nil && pgconn.SafeToRetry(err) {
			return driver.ErrBadConn // as pgx's driver for database/sql does
		}
		return err
	})
	return sent, err
}

func (s *Store) sendNative(
	ctx context.Context, conn *pgx.Conn, ids []int64, hashes [][]byte,
) (rows []db.NearSession, err error) {
	if s.near.on() {
		found, err := s.native.LookupNear(ctx, conn, ids, hashes)
		rows = make([]db.NearSession, len(found))
		for i := range found {
			rows[i] = db.NearSession(found[i])
		}
		return rows, err
	}
	found, err := s.native.LookupBatch(ctx, conn, ids, hashes)
	rows = make([]db.NearSession, len(found))
	for i := range found {
		rows[i] = notKept(db.LiveSession(found[i]))
	}
	return rows, err
}
