package sessionsql

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/db/native"
)

// lookupRows sends a batch. On a connection of pgx it bypasses database/sql, which costs CPU time because it
// sends arrays as text and scans value by value.
func (s *Store) lookupRows(
	ctx context.Context, on Tx, params db.LookupBatchParams,
) (rows []db.LiveSession, err error) {
	if conn, ok := on.(*sql.Conn); ok {
		var sent bool
		if rows, sent, err = s.lookupNative(ctx, conn, params); sent || err != nil {
			return rows, err
		}
	}
	return s.queries.LookupBatch(ctx, on, params)
}

// lookupNative sends a batch if the connection is one of pgx.
func (s *Store) lookupNative(
	ctx context.Context, conn *sql.Conn, params db.LookupBatchParams,
) (rows []db.LiveSession, sent bool, err error) {
	err = conn.Raw(func(c any) error {
		var pgx *stdlib.Conn
		if pgx, sent = c.(*stdlib.Conn); !sent {
			return nil
		}
		hashes := make([][]byte, len(params.SecretHashes))
		for i := range hashes {
			hashes[i] = params.SecretHashes[i][:]
		}
		batch := native.LookupBatchParams{IDs: params.IDs, SecretHashes: hashes}
		found, err := s.native.LookupBatch(ctx, pgx.Conn(), batch)
		if err != nil {
			if pgconn.SafeToRetry(err) {
				return driver.ErrBadConn // as pgx's driver for database/sql does
			}
			return err
		}
		rows = make([]db.LiveSession, len(found))
		for i := range found {
			rows[i] = db.LiveSession(found[i])
		}
		return nil
	})
	return rows, sent, err
}
