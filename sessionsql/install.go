package sessionsql

import (
	"context"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
	bundle "github.com/sessionsql/postgres/sql"
)

// installTimeout bounds how long Install tries again for a caller whose context has no deadline.
const installTimeout = time.Minute

// Install installs the SQL bundle that this package embeds, or upgrades an older one: in a few
// transactions, one after the other. It is idempotent, safe to call from many programs at once, and never
// touches a session. Where this version is installed it takes no lock and writes nothing. Where a newer one is
// installed it changes nothing either, and returns nil if that one serves this program.
//
// An upgrade runs while other programs use the bundle. What it cannot do beside a long transaction it tries again, for a
// minute or until ctx ends; meanwhile nobody waits for it longer than a fraction of a second.
//
// It runs the same files as psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql, with roles.sql where that has run before, and
// needs the right to create a schema in the database, nothing more. It returns a *[VersionError], ErrUnavailable or
// ErrReadOnly.
func Install(ctx context.Context, primary DB) error {
	n := &node{name: nodeName(0), db: primary}
	for begin := time.Now(); ; {
		var err error
		for _, step := range append(bundle.UpgradeSteps(), bundle.Install()) {
			if err = n.install(ctx, step); err != nil {
				break
			}
		}
		var refused *Error
		switch {
		case !errors.As(err, &refused):
			return err
		case refused.SQLState == "55000": // a newer bundle
			installed, err := db.New().Version(ctx, primary)
			if err != nil {
				return databaseError(ctx, "install", n, err)
			}
			return checkVersion(installed)
		case refused.SQLState != "55P03", time.Since(begin) > installTimeout: // lock_timeout
			return err
		}
		pause := time.NewTimer(jitter(lockPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return contextError(ctx, "install")
		}
	}
}

// lockPause is how long an upgrade lets others work before it asks for its locks again: as long as it made them wait.
const lockPause = 250 * time.Millisecond

// install runs one statement in a transaction of its own.
func (n *node) install(ctx context.Context, statement string) error {
	tx, err := n.db.BeginTx(ctx, nil)
	if err != nil {
		return databaseError(ctx, "install", n, err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return databaseError(ctx, "install", n, err)
	}
	return databaseError(ctx, "install", n, tx.Commit())
}
