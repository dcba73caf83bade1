package migrationtools_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/pgschema"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// This helper has a short name here, because all tests use it.
var must = testkit.Must

const (
	root      = "../.."
	bundle    = root + "/sql/dist/sessionsql.sql"
	uninstall = root + "/sql/uninstall.sql"
	older     = root + "/sessionsql/testdata/bundle-0.1.0-3068df4.sql"
)

var (
	server *pgcluster.Node

	// installed is the schema that Go's Install makes.
	installed []string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	cluster, err := pgcluster.Start(ctx, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Close() }()
	server = cluster.Primary
	if npmFolder, err = os.MkdirTemp("", "sessionsql-npm-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(npmFolder) }()
	if err := prepare(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// prepare makes the role migrator, which is no superuser and owns its databases. It describes the schema that
// Install makes.
func prepare(ctx context.Context) error {
	admin, err := sql.Open("pgx", server.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	for _, statement := range []string{
		"CREATE ROLE migrator LOGIN", "CREATE DATABASE installed OWNER migrator",
	} {
		if _, err := admin.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	pool, err := sql.Open("pgx", migratorDSN("installed"))
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	if err := sessionsql.Install(ctx, pool); err != nil {
		return err
	}
	installed, err = pgschema.Describe(ctx, pool)
	if err == nil && len(installed) < 100 {
		err = errors.New("the schema that Install makes is too small to compare with")
	}
	return err
}

func migratorDSN(database string) string {
	return strings.Replace(server.DSN(database), "postgres://postgres@", "postgresql://migrator@", 1)
}

// readFile returns the text of a file.
func readFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	must(t, err)
	return string(text)
}
