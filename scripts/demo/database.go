package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/sessionsql"
)

// A database is the servers, the Store over them, and a pool for looks past the Store.
type database struct {
	cluster *pgcluster.Cluster // nil if the caller named servers
	primary string             // a DSN of all servers of the cluster, of which one accepts writes

	afterPromotion func(context.Context, *sql.DB) error // a test changes the new primary by it
	store          *sessionsql.Store
	pool           *sql.DB
}

// openDatabase starts a cluster or takes the named servers, and opens a Store.
func openDatabase(ctx context.Context, c config, rules rules, screen *screen) (_ *database, err error) {
	d := &database{primary: c.primary, afterPromotion: c.afterPromotion}
	defer func() {
		if err != nil {
			_ = d.close()
		}
	}()
	replicas := c.replicas
	if d.primary == "" {
		if replicas, err = d.startCluster(ctx, screen); err != nil {
			return nil, err
		}
	}
	options := &sessionsql.Options{
		IdleTimeout:   rules.idle,
		FlushInterval: rules.flush,
		ReapInterval:  rules.reap,
		Logger:        screen.logger(),
	}
	d.store, err = sessionsql.Open(ctx, d.primary, replicas, options)
	if err != nil && !errors.Is(err, sessionsql.ErrNotInstalled) {
		return nil, err
	}
	notInstalled := err != nil
	if d.pool, err = sql.Open("pgx", d.primary); err != nil {
		return nil, sessionsql.ErrDSN // without the cause, because it quotes the DSN
	}
	if !notInstalled {
		return d, nil
	}
	screen.say("installing the SQL bundle")
	if err := sessionsql.Install(ctx, d.pool); err != nil {
		return nil, err
	}
	awaitBundle(ctx, replicas)
	d.store, err = sessionsql.Open(ctx, d.primary, replicas, options)
	return d, err
}

// startCluster starts a primary and two replicas, and prints the settings that differ from the defaults. A
// synchronous commit waits for one of the replicas, so that a promotion undoes no log-out.
func (d *database) startCluster(ctx context.Context, screen *screen) (replicas []string, err error) {
	screen.say("starting a primary and two streaming replicas")
	d.cluster, err = pgcluster.Start(ctx, &pgcluster.Options{
		Replicas: 2,
		Settings: map[string]string{
			"fsync":                     "on", // because a demonstration without fsync would flatter
			"synchronous_standby_names": "ANY 1 (replica1, replica2)",
		},
	})
	if err != nil {
		return nil, err
	}
	hosts := []string{d.cluster.Primary.Address()}
	for _, replica := range d.cluster.Replicas {
		hosts = append(hosts, replica.Address())
		replicas = append(replicas, replica.DSN("postgres"))
	}
	// Without connect_timeout, pgx gives each of several hosts one second, and a busy machine may need more.
	// A dead server on this machine refuses at once.
	d.primary = fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable&target_session_attrs=read-write"+
		"&connect_timeout=5", strings.Join(hosts, ","))
	changed, err := changedSettings(d.cluster.Primary.DataDir)
	screen.say("server settings other than the defaults: %s", changed)
	return replicas, err
}

// changedSettings returns the settings after initdb's in postgresql.conf, without addresses and names.
func changedSettings(dataDir string) (string, error) {
	file, err := os.ReadFile(filepath.Join(dataDir, "postgresql.conf"))
	if err != nil {
		return "", err
	}
	_, appended, found := bytes.Cut(file, []byte("# Add settings for extensions here\n"))
	if !found {
		return "", fmt.Errorf("%s: the end of initdb's settings is not where it was", file)
	}
	var order []string
	last := map[string]string{} // because the last value of a name counts
	for line := range strings.Lines(string(appended)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		switch name {
		case "listen_addresses", "port", "unix_socket_directories", "cluster_name":
			continue
		}
		if _, known := last[name]; !known {
			order = append(order, name)
		}
		last[name] = strings.Trim(value, "'")
	}
	for i, name := range order {
		order[i] = name + "=" + last[name]
	}
	return strings.Join(order, " "), nil
}

// awaitBundle waits a moment until a new installation has reached the replicas. The Store leaves out a
// replica that is late.
func awaitBundle(ctx context.Context, replicas []string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, dsn := range replicas {
		pool, err := sql.Open("pgx", dsn)
		if err != nil {
			return
		}
		for ctx.Err() == nil {
			if _, err := db.New().Version(ctx, pool); err == nil {
				break
			}
			rest(ctx, 10*time.Millisecond)
		}
		_ = pool.Close()
	}
}

// loggedDeadlocks counts the deadlocks in the servers' logs. It cannot read the logs of named servers.
func (d *database) loggedDeadlocks() (deadlocks int64, err error) {
	if d.cluster == nil {
		return 0, nil
	}
	for _, node := range append([]*pgcluster.Node{d.cluster.Primary}, d.cluster.Replicas...) {
		log, err := os.ReadFile(node.LogPath())
		if err != nil {
			return 0, err
		}
		deadlocks += int64(bytes.Count(log, []byte("deadlock detected")))
	}
	return deadlocks, nil
}

// names returns the names of the servers, the first primary and then the replicas.
func (d *database) names() []string {
	names := []string{primaryName}
	for i := range d.store.Stats().Replicas {
		names = append(names, fmt.Sprintf("replica%d", i+1))
	}
	return names
}

const primaryName = "primary"

// nameAt returns the name of the server on a port. Of named servers, the one that answers as the primary has
// the primary's name.
func (d *database) nameAt(port int) string {
	if d.cluster != nil {
		for _, node := range d.cluster.Replicas {
			if node.Port == port {
				return node.Name()
			}
		}
	}
	return primaryName
}

// runs reports whether the server at an index of names was not killed.
func (d *database) runs(i int) bool {
	return d.cluster == nil || i > 0 || d.cluster.Primary.PID() != 0
}

// sweep reaps all expired sessions, and returns their number. It finishes the current lap of the hand and
// makes a whole one.
func (d *database) sweep(ctx context.Context) (found int64, err error) {
	for laps := 0; laps < 2; {
		result, err := d.store.Reap(ctx)
		if err != nil {
			return found, err
		}
		found += result.Reaped
		switch {
		case result.LapDone:
			laps++
		case result.Busy && !rest(ctx, 10*time.Millisecond):
			return found, ctx.Err()
		}
	}
	return found, nil
}

// close ends everything that openDatabase has started.
func (d *database) close() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if d.store != nil {
		err = errors.Join(err, d.store.Close(ctx))
	}
	if d.pool != nil {
		err = errors.Join(err, d.pool.Close())
	}
	if d.cluster != nil {
		err = errors.Join(err, d.cluster.Close())
	}
	return err
}

// rest waits, and reports whether ctx has not ended.
func rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
