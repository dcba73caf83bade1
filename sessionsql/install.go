package sessionsql

import (
	"context"
	"errors"
	"time"

	"github.com/sessionsql/postgres/db"
	bundle "github.com/sessionsql/postgres/sql"
)

const (
	// installTimeout bounds how long Install waits for its locks.
	installTimeout = time.Minute

	// lockPause lets others work between two attempts to get a lock, as long as an attempt makes them wait.
	lockPause = 250 * time.Millisecond
)

// Install installs the SQL bundle that this package embeds, or upgrades an older one, in a few transactions.
// It is idempotent, safe to call from many programs at once, and changes no session. If this version is
// installed, Install takes no lock and writes nothing. If a newer one is installed, Install changes nothing,
// and returns nil if that version serves this program.
//
// An upgrade runs while other programs use the bundle. A long transaction may hold a lock that the upgrade
// needs. Then Install tries again, for a minute or until ctx ends, and each attempt delays other programs by
// a quarter of a second at most.
//
// Install runs the same files as psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql, and roles.sql if that has run
// before. It needs no other right than to create a schema in the database. It returns a *[VersionError],
// ErrUnavailable or ErrReadOnly.
func Install(ctx context.Context, primary DB) error {
	n := &node{name: nodeName(0), db: primary}
	for begin := time.Now(); ; {
		var err error
		for _, step := range append(bundle.UpgradeSteps(), bundle.Install()) {
			if err = n.installStep(ctx, step); err != nil {
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
			return checkBundleVersion(installed)
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

func (n *node) installStep(ctx context.Context, statement string) error {
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
