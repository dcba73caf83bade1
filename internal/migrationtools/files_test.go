package migrationtools_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5" // the scheme pgx5
	_ "github.com/golang-migrate/migrate/v4/source/file"     // the scheme file
	"github.com/pressly/goose/v3"
	sqlmigrate "github.com/rubenv/sql-migrate"
)

// These tools run files of SQL, which the document's lines make from the bundle.
var (
	golangMigrate = tool{
		name: "golang-migrate", section: "golang-migrate",
		up: func(p *project, steps []step) {
			p.writeFiles(steps, "%06d_sessionsql.up.sql", "")
			p.golangMigrate((*migrate.Migrate).Up)
		},
		down: func(p *project) { p.golangMigrate(func(m *migrate.Migrate) error { return m.Steps(-1) }) },
	}
	gooseTool = tool{
		name: "goose", section: threeTools,
		up: func(p *project, steps []step) {
			p.writeFiles(steps, "%05d_sessionsql.sql", gooseDown)
			p.goose(func(ctx context.Context, g *goose.Provider) error { _, err := g.Up(ctx); return err })
		},
		down: func(p *project) {
			p.goose(func(ctx context.Context, g *goose.Provider) error { _, err := g.Down(ctx); return err })
		},
	}
	sqlMigrate = tool{
		name: "sql-migrate", section: threeTools,
		up: func(p *project, steps []step) {
			p.writeFiles(steps, "%05d_sessionsql.sql", "-- +migrate Down")
			p.sqlMigrate(sqlmigrate.Up, len(steps))
		},
		down: func(p *project) { p.sqlMigrate(sqlmigrate.Down, 1) },
	}
	dbmate = tool{
		name: "dbmate", section: threeTools, packages: "npm", probe: npmProbe,
		up: func(p *project, steps []step) {
			p.writeFiles(steps, "%05d_sessionsql.sql", "-- migrate:down")
			p.dbmate("migrate")
		},
		down: func(p *project) { p.dbmate("rollback") },
	}
)

const (
	threeTools = "goose, sql-migrate, dbmate"
	gooseDown  = "-- +goose Down"
)

// writeFiles makes the file of each step. A tool has a pattern for names and a mark of the down direction.
func (p *project) writeFiles(steps []step, pattern, down string) {
	p.Helper()
	lines := p.block()
	if !strings.Contains(lines, down) {
		p.Fatalf("the document's lines lack %q", down)
	}
	lines = strings.Replace(lines, gooseDown, down, 1)
	must(p.T, os.MkdirAll(filepath.Join(p.folder, "migrations"), 0o755))
	for _, s := range steps {
		name := "migrations/" + fmt.Sprintf(pattern, s.number)
		if s.own != "" {
			p.write(name, "-- +goose Up\n-- +migrate Up\n-- migrate:up\n"+s.own+";\n-- migrate:down\n")
			continue
		}
		p.run("sh", "-e", "-c", strings.ReplaceAll(lines, "00001_", fmt.Sprintf("%05d_", s.number)))
		if _, err := os.Stat(filepath.Join(p.folder, name)); err != nil {
			p.Fatalf("the document's lines make another file: %v", err)
		}
	}
}

func (p *project) golangMigrate(run func(*migrate.Migrate) error) {
	p.Helper()
	url := strings.Replace(p.dsn, "postgresql://", "pgx5://", 1)
	m, err := migrate.New("file://"+p.folder+"/migrations", url)
	must(p.T, err)
	must(p.T, run(m))
	source, database := m.Close()
	must(p.T, source)
	must(p.T, database)
}

func (p *project) goose(run func(context.Context, *goose.Provider) error) {
	p.Helper()
	files := os.DirFS(filepath.Join(p.folder, "migrations"))
	provider, err := goose.NewProvider(goose.DialectPostgres, p.lone(), files)
	must(p.T, err)
	must(p.T, run(p.Context(), provider))
	must(p.T, provider.Close())
}

func (p *project) sqlMigrate(direction sqlmigrate.MigrationDirection, most int) {
	p.Helper()
	pool := p.lone()
	files := sqlmigrate.FileMigrationSource{Dir: filepath.Join(p.folder, "migrations")}
	ran, err := sqlmigrate.ExecMax(pool, "postgres", files, direction, most)
	must(p.T, err)
	if ran != most {
		p.Fatalf("%d migrations ran, want %d", ran, most)
	}
	must(p.T, pool.Close())
}

// lone returns a pool of one connection, so that each migration finds what the one before it left behind.
func (p *project) lone() *sql.DB {
	p.Helper()
	pool, err := sql.Open("pgx", p.dsn)
	must(p.T, err)
	pool.SetMaxOpenConns(1)
	return pool
}

func (p *project) dbmate(command string) {
	p.Helper()
	p.run(npm(p.T)+"/.bin/dbmate", "--migrations-dir=migrations", "--no-dump-schema", command)
}
