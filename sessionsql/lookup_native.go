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
) (rows []db.LiveSession, err error) {
	sent, err := onPgx(on, func(conn *pgx.Conn) error {
		hashes := make([][]byte, len(params.SecretHashes))
		for i := range hashes {
			hashes[i] = params.SecretHashes[i][:]
		}
		found, err := s.native.LookupBatch(ctx, conn, params.IDs, hashes)
		rows = make([]db.LiveSession, len(found))
		for i := range found {
			rows[i] = db.LiveSession(found[i])
		}
		return err
	})
	if sent || err != nil {
		return rows, err
	}
	return s.queries.LookupBatch(ctx, on, params)
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
