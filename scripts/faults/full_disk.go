package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/scripts/faults/tools"
)

// A diskSite is a primary with a folder on a disk of its own, and a replica.
type diskSite struct {
	cluster *pgcluster.Cluster
	box     *tools.Box
	disk    *tools.Disk
}

func diskSites() []*siteKind {
	return []*siteKind{
		{
			name:  "disk full, data",
			start: func(ctx context.Context) (site, error) { return startDiskSite(ctx, "base", 128) },
			kinds: []*kind{{"disk full, data", long, hang, false, fillData}},
		},
		{
			name:  "disk full, WAL",
			start: func(ctx context.Context) (site, error) { return startDiskSite(ctx, "pg_wal", 256) },
			kinds: []*kind{{"disk full, WAL", short, long, false, fillWAL}},
		},
	}
}

func startDiskSite(ctx context.Context, folder string, megabytes int) (_ site, err error) {
	s := &diskSite{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.box, err = tools.NewBox(); err != nil {
		return nil, err
	}
	if s.cluster, err = startCluster(ctx, 1).wait(); err != nil {
		return nil, err
	}
	node := s.cluster.Primary
	err = administer(ctx, node,
		"ALTER SYSTEM SET wal_keep_size = '64MB'", "ALTER SYSTEM SET max_wal_size = '96MB'",
		"ALTER SYSTEM SET min_wal_size = '32MB'", "ALTER SYSTEM SET restart_after_crash = off",
		"CREATE TABLE faults_wide (id integer NOT NULL, filler text NOT NULL)")
	if err != nil {
		return nil, err
	}
	if err := node.Stop(ctx); err != nil {
		return nil, err
	}
	s.disk, err = tools.MoveToDisk(ctx, s.box, filepath.Join(node.DataDir, folder), megabytes)
	if err != nil {
		return nil, err
	}
	return s, node.Start(ctx)
}

func (s *diskSite) routes() routes {
	r := routes{dial: callDeadline}
	for _, node := range append([]*pgcluster.Node{s.cluster.Primary}, s.cluster.Replicas...) {
		r.clients = append(r.clients, node.DSN("postgres"))
	}
	r.direct = r.clients
	// A page holds four rows, so the raw connection needs new pages as the Stores do.
	r.rawWrite = `INSERT INTO faults_wide SELECT %d, string_agg(md5(random()::text || i), '')
		FROM generate_series(1, 60) AS i`
	return r
}

func (s *diskSite) Log() string { return s.cluster.Log() }

func (s *diskSite) Close() error {
	var err error
	if s.cluster != nil {
		err = s.cluster.Primary.Kill() // the server would keep the disk mounted
	}
	if s.disk != nil {
		err = errors.Join(err, s.disk.Close())
	}
	if s.cluster != nil {
		err = errors.Join(err, s.cluster.Close())
	}
	if s.box != nil {
		err = errors.Join(err, s.box.Close())
	}
	return err
}

// fillData fills the disk of the tables, so that no write gets a new page. The server goes on.
func fillData(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(*diskSite)
	if err := s.disk.Fill(); err != nil {
		return err
	}
	err := fillPages(ctx, s.cluster.Primary, f.hold)
	return errors.Join(err, s.disk.Free())
}

// fillPages takes the free space in the pages of the session table, again and again.
func fillPages(ctx context.Context, node *pgcluster.Node, length time.Duration) error {
	const outOfSpace = "53100"
	conn, err := connect(ctx, node)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for deadline := time.Now().Add(length); time.Now().Before(deadline); {
		_, err := conn.Exec(ctx,
			"SELECT sessionsql.insert(sha256(random()::text::bytea), 'x', interval '1 second')")
		if err == nil {
			continue
		}
		if refused := (*pgconn.PgError)(nil); !errors.As(err, &refused) || refused.Code != outOfSpace {
			return err
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// fillWAL fills the disk of the WAL. The server ends at its next segment, and cannot start before there is
// space again.
func fillWAL(ctx context.Context, g *group, f *fault) error {
	s := g.servers.(*diskSite)
	node := s.cluster.Primary
	start := g.history.now()
	if err := s.disk.Fill(); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); node.PID() != 0; {
		// The statement fails when the server ends.
		_ = administer(ctx, node,
			"SELECT pg_logical_emit_message(false, 'faults', 'fill')", "SELECT pg_switch_wal()")
		if time.Now().After(deadline) || ctx.Err() != nil {
			return errors.Join(fmt.Errorf("the server goes on with a full disk"), s.disk.Free())
		}
	}
	loss := start - int64(asyncLoss)
	g.crashed(crashWindow{start: start, asynchronous: loss, strict: never, doubtful: never})
	if err := errors.Join(sleep(ctx, f.hold), s.disk.Free()); err != nil {
		return err
	}
	return node.Start(ctx)
}
