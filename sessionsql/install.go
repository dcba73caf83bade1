package sessionsql

import (
	"context"

	bundle "github.com/sessionsql/postgres/sql"
)

// Install installs the SQL bundle that this package embeds, or brings an installed one up to this version, in one
// transaction. It is idempotent, and safe to call from many programs at once; it never touches a session.
//
// It runs the same files as psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql, and needs the right to create a schema in the
// database, nothing more. It returns ErrUnavailable or ErrReadOnly.
func Install(ctx context.Context, primary DB) error {
	n := &node{name: nodeName(0), db: primary}
	tx, err := primary.BeginTx(ctx, nil)
	if err != nil {
		return databaseError(ctx, "install", n, err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	if _, err := tx.ExecContext(ctx, bundle.Install()); err != nil {
		return databaseError(ctx, "install", n, err)
	}
	return databaseError(ctx, "install", n, tx.Commit())
}
