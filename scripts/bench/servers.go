package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/sessionsql"
)

// servers are all servers of a run. Each listens on the loopback interface of this machine.
type servers struct {
	cluster   *pgcluster.Cluster
	redis     *process
	memcached *process

	keepDatabases bool
}

// postgresSettings are the usual settings for a server of this size, with enough connections for all
// contestants at once. fsync stays on.
var postgresSettings = map[string]string{
	"fsync":           "on",
	"shared_buffers":  "1GB",
	"max_wal_size":    "4GB",
	"max_connections": "500",
}

func startServers(ctx context.Context, c config, replicas int, progress io.Writer) (_ *servers, err error) {
	s := &servers{keepDatabases: c.keepDatabases}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.redis, err = startRedis(ctx); err != nil {
		return nil, err
	}
	if s.memcached, err = startMemcached(ctx); err != nil {
		return nil, err
	}
	settings := maps.Clone(postgresSettings)
	if c.mode == "smoke" {
		settings["fsync"] = "off"
	}
	s.cluster, err = pgcluster.Start(ctx,
		&pgcluster.Options{Replicas: replicas, Settings: settings, Log: progress})
	return s, err
}

func (s *servers) close() {
	if s.cluster != nil {
		_ = s.cluster.Close()
	}
	for _, each := range []*process{s.redis, s.memcached} {
		if each != nil {
			each.close()
		}
	}
}

// postgresMeter counts the replicas too, because replication is part of the cost.
func (s *servers) postgresMeter() meter {
	m := meter{pids: []int{s.cluster.Primary.PID()}}
	for _, replica := range s.cluster.Replicas {
		m.pids = append(m.pids, replica.PID())
	}
	return m
}

// A database holds the bundle and a scenario's tables. It is dropped after the scenario, so that no scenario
// meets another's dead rows and autovacuum.
type database struct {
	name    string
	dsn     string
	pool    *sql.DB
	servers *servers
}

func (s *servers) database(ctx context.Context, name string) (*database, error) {
	name = "bench_" + name
	admin, err := openPool(s.cluster.Primary.DSN("postgres"), 1)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, fmt.Errorf("database %s: %w", name, err)
	}
	d := &database{name: name, dsn: s.cluster.Primary.DSN(name), servers: s}
	if d.pool, err = openPool(d.dsn, poolSize); err != nil {
		return nil, err
	}
	if err := sessionsql.Install(ctx, d.pool); err != nil {
		d.pool.Close()
		return nil, err
	}
	return d, nil
}

// close drops the database. It uses its own context, because the run's context may have ended.
func (d *database) close() {
	d.pool.Close()
	if d.servers.keepDatabases {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	admin, err := openPool(d.servers.cluster.Primary.DSN("postgres"), 1)
	if err != nil {
		return
	}
	defer admin.Close()
	_, _ = admin.ExecContext(ctx, "DROP DATABASE "+d.name+" WITH (FORCE)")
}

func (d *database) exec(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := d.pool.ExecContext(ctx, statement); err != nil {
			first, _, _ := strings.Cut(strings.TrimSpace(statement), "\n")
			return fmt.Errorf("%s: %w", first, err)
		}
	}
	return nil
}

// has reports whether the server has an extension that can be created.
func (d *database) has(ctx context.Context, extension string) (available bool, err error) {
	const statement = "SELECT EXISTS (SELECT FROM pg_available_extensions AS e WHERE e.name = $1)"
	err = d.pool.QueryRowContext(ctx, statement, extension).Scan(&available)
	return available, err
}

// alterSystem changes settings of the whole server until undo, which works after the end of ctx too.
func (d *database) alterSystem(
	ctx context.Context, settings map[string]string,
) (undo func() error, err error) {
	const apply = "SELECT pg_reload_conf()"
	undo = func() error {
		for name := range settings {
			if err := d.exec(context.WithoutCancel(ctx), "ALTER SYSTEM RESET "+name); err != nil {
				return err
			}
		}
		return d.exec(context.WithoutCancel(ctx), apply)
	}
	for name, value := range settings {
		if err := d.exec(ctx, fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, value)); err != nil {
			return nil, errors.Join(err, undo())
		}
	}
	if err := d.exec(ctx, apply); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// openStore opens a Store by DSN, as an application does.
func (d *database) openStore(ctx context.Context, options *sessionsql.Options) (*sessionsql.Store, error) {
	var replicas []string
	for _, replica := range d.servers.cluster.Replicas {
		replicas = append(replicas, replica.DSN(d.name))
	}
	return sessionsql.Open(ctx, d.dsn, replicas, options)
}

// openPool opens a pool like the Store's, with database/sql over pgx.
func openPool(dsn string, connections int) (*sql.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool, nil
}

// openPgxPool opens a pool of pgx's own.
func openPgxPool(ctx context.Context, dsn string, connections int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.MinConns, config.MaxConns = connections, connections
	return pgxpool.NewWithConfig(ctx, config)
}

// changedSettings returns the settings that differ from the server's defaults, without names and places.
func (s *servers) changedSettings(ctx context.Context) (map[string]string, error) {
	pool, err := openPool(s.cluster.Primary.DSN("postgres"), 1)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	rows, err := pool.QueryContext(ctx, `
		SELECT s.name, current_setting(s.name)
		FROM pg_settings AS s
		WHERE s.source = 'configuration file'
		  AND s.setting IS DISTINCT FROM s.boot_val
		  AND s.category NOT LIKE 'Client Connection Defaults%'
		  AND s.name NOT IN (
		    'port', 'listen_addresses', 'unix_socket_directories', 'cluster_name', 'log_timezone'
		  )
		UNION ALL
		SELECT s.name, current_setting(s.name)
		FROM pg_settings AS s
		WHERE s.name IN ('server_version', 'fsync', 'synchronous_commit', 'wal_level', 'autovacuum_naptime')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	settings := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		settings[name] = value
	}
	return settings, rows.Err()
}
