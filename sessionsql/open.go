package sessionsql

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Open connects to a primary and its read replicas. It checks that the primary is no standby and holds a
// bundle that serves this program (see [Install]). Each DSN is one server; the primary's DSN may name several
// hosts, of which one accepts writes. A replica that does not answer yet is no error: lookups read
// from it once it does.
//
// The primary may be a router of shards, which has no replicas and no near cache.
//
// It returns ErrDSN, ErrUnavailable, ErrReadOnly, ErrNotInstalled, a *[VersionError], ErrRouter, or
// ErrOptions.
func Open(ctx context.Context, primaryDSN string, replicaDSNs []string, options *Options) (*Store, error) {
	pools := make([]*sql.DB, 0, 2+len(replicaDSNs))
	fail := func(err error) (*Store, error) {
		for _, pool := range pools {
			_ = pool.Close()
		}
		return nil, err
	}
	var store *Store
	accept := func(ctx context.Context, conn *pgconn.PgConn) error { return store.acceptPrimary(ctx, conn) }
	replicas := make([]DB, 0, len(replicaDSNs))
	for i, dsn := range append([]string{primaryDSN}, replicaDSNs...) {
		config, err := pgx.ParseConfig(dsn)
		switch {
		case err != nil:
			// The cause quotes the DSN, and with it perhaps a password, so it is left out.
			return fail(fmt.Errorf("sessionsql: open: %s: %w", nodeName(i), ErrDSN))
		case i == 0:
			pools = append(pools,
				openPool(config.Copy(), upkeepConnections, accept), openPool(config, maxConnections, accept))
		default:
			pools = append(pools, openPool(config, maxConnections, nil))
			replicas = append(replicas, pools[i+1])
		}
	}
	made, err := newStore(pools[1], pools[0], replicas, options)
	if err != nil {
		return fail(err)
	}
	store = made // before the first connection, because accept uses it
	store.primary.neverStandby.Store(true)
	if err := store.checkPrimary(ctx); err != nil {
		store.abort()
		return fail(err)
	}
	store.pools = pools
	store.probeAll(ctx)
	store.startLoops()
	return store, nil
}

// OpenDB makes a Store from pools that the application already has, of any PostgreSQL driver. Like
// [sql.OpenDB] it does not connect: the first operation reports a missing bundle or a read-only primary.
// Close leaves the pools open. Set a connect_timeout for their connections, because the Store cannot bound
// how long a pool dials.
func OpenDB(primary DB, replicas []DB, options *Options) (*Store, error) {
	for i, pool := range append([]DB{primary}, replicas...) {
		if isNil(pool) {
			return nil, fmt.Errorf("sessionsql: open: %w: the pool of %s is nil", ErrOptions, nodeName(i))
		}
	}
	store, err := newStore(primary, primary, replicas, options)
	if err != nil {
		return nil, err
	}
	store.startLoops()
	return store, nil
}

// isNil also finds the nil pointer of a type that implements DB.
func isNil(pool DB) bool {
	value := reflect.ValueOf(pool)
	return !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil()
}

// checkPrimary returns an error if the primary cannot serve. It asks for the recovery state, because a pooler
// does not report that a connection leads to a standby.
func (s *Store) checkPrimary(ctx context.Context) error {
	installed, err := s.version(ctx, "open")
	if err != nil {
		return err
	}
	if err := checkBundleVersion(installed); err != nil {
		return err
	}
	router := false
	err = s.primary.read(ctx, "open", func(ctx context.Context, on Tx) error {
		standby, err := s.queries.InRecovery(ctx, on)
		switch {
		case err != nil:
			return err
		case standby:
			return errStandby
		}
		router, err = s.isRouter(ctx, on)
		return err
	})
	switch {
	case err != nil || !router:
		return err
	case len(s.replicas) > 0:
		return fmt.Errorf("sessionsql: open: replicas: %w", ErrRouter)
	case s.near.entries != nil:
		return fmt.Errorf("sessionsql: open: a near cache: %w", ErrRouter)
	}
	return nil
}
