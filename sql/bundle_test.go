package sql_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/pgschema"
	"github.com/sessionsql/postgres/internal/testkit"
	bundle "github.com/sessionsql/postgres/sql"
)

func TestManifestNamesEveryFileOnce(t *testing.T) {
	manifest, err := fs.ReadFile(bundle.Bundle, "install.sql")
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(bundle.Bundle, ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case path == "install.sql" || path == "uninstall.sql": // each run by itself
			return nil
		}
		if n := strings.Count(string(manifest), "\n\\ir "+path+"\n"); n != 1 {
			t.Errorf("install.sql names %s %d times", path, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestInstallIsPlainSQL(t *testing.T) {
	for line := range strings.SplitSeq(bundle.Install()+bundle.Roles()+bundle.Uninstall(), "\n") {
		if strings.HasPrefix(line, `\`) {
			t.Errorf("psql alone understands %q", line)
		}
	}
	if !strings.Contains(bundle.Install(), "CREATE TABLE sessionsql.session") {
		t.Error("the table is missing")
	}
}

// Migration tools read a file before they send it: some replace what looks like a parameter or a placeholder.
func TestOneFileHoldsNothingThatMigrationToolsReplace(t *testing.T) {
	file := testkit.ReadFile(t, "dist/sessionsql.sql")
	header, footer, found := strings.Cut(file, bundle.Install())
	if !found {
		t.Fatal("the file is not what Install sends: run scripts/generate.sh")
	}
	for line := range strings.Lines(header + footer) {
		if line != "\n" && !strings.HasPrefix(line, "--") {
			t.Errorf("around the statement stands %q", line)
		}
	}
	for name, trap := range map[string]string{
		"a parameter of SQLAlchemy's text()":          `(?:^|[^:\w\\]):\w`,
		"a parameter of JDBC or Knex":                 `\?`,
		"a placeholder of Flyway or Liquibase":        `\$\{`,
		"a template of node-pg-migrate":               `\{[A-Za-z]`,
		"a command of psql":                           `(?m)^\\`,
		"a letter that needs the client's encoding":   `[^\x00-\x7f]`,
		"a string that depends on a server's setting": `\\`,
	} {
		for _, at := range regexp.MustCompile(trap).FindAllStringIndex(file, -1) {
			t.Errorf("%s, near %q", name, file[max(0, at[0]-20):min(len(file), at[1]+20)])
		}
	}
}

// Migration tools send the file in a transaction or outside of one, as it is or prepared.
func TestOneFileInstallsWhatPsqlInstalls(t *testing.T) {
	cluster, err := pgcluster.Start(t.Context(), nil)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = cluster.Close() })
	create := func(name string) (dsn string, pool *sql.DB) {
		_, err := testkit.OpenPool(t, cluster.Primary.DSN("postgres")).Exec("CREATE DATABASE " + name)
		testkit.Must(t, err)
		return cluster.Primary.DSN(name), testkit.OpenPool(t, cluster.Primary.DSN(name))
	}
	dsn, pool := create("psql")
	psql := exec.Command("psql", "-qX1", "-v", "ON_ERROR_STOP=1", "-f", "install.sql", "-d", dsn)
	said, err := psql.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Log("psql is missing: the ways are compared with what Go sends")
		_, err = pool.Exec(bundle.Install())
	}
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	schema, dump := describe(t, dsn, pool)

	file := testkit.ReadFile(t, "dist/sessionsql.sql")
	for name, send := range map[string]func(context.Context, *sql.Conn) error{
		"autocommit": func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, file)
			return err
		},
		"prepared": func(ctx context.Context, conn *sql.Conn) error {
			prepared, err := conn.PrepareContext(ctx, file)
			if err == nil {
				_, err = prepared.ExecContext(ctx)
			}
			return err
		},
		"transaction": func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, "BEGIN")
			if err == nil {
				_, err = conn.ExecContext(ctx, file)
			}
			if err == nil {
				_, err = conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS public.after AS "+settings)
			}
			if err == nil {
				_, err = conn.ExecContext(ctx, "COMMIT")
			}
			return err
		},
	} {
		dsn, pool := create(name)
		conn, err := pool.Conn(t.Context())
		testkit.Must(t, err)
		_, err = conn.ExecContext(t.Context(), "SET lock_timeout = '7s'")
		testkit.Must(t, err)
		before := ask(t, conn, settings)
		for range 2 {
			if err := send(t.Context(), conn); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if after := ask(t, conn, settings); after != before {
				t.Errorf("%s: the settings %s became %s", name, before, after)
			}
		}
		if name == "transaction" {
			if after := ask(t, conn, "SELECT settings FROM public.after"); after != before {
				t.Errorf("within the transaction the settings %s became %s", before, after)
			}
		}
		_ = conn.Close()
		gotSchema, gotDump := describe(t, dsn, pool)
		if !slices.Equal(gotSchema, schema) || len(schema) < 100 {
			t.Errorf("%s: the schema of %d objects differs from %d", name, len(gotSchema), len(schema))
		}
		if gotDump != dump {
			t.Errorf("%s: the dump of %d bytes differs from that of %d", name, len(gotDump), len(dump))
		}
	}
}

// settings are those that are other than at the start of the connection, as one text.
const settings = `
	SELECT COALESCE(string_agg(name || '=' || setting, ' ' ORDER BY name), '') AS settings
	FROM pg_settings WHERE setting <> reset_val`

func ask(t *testing.T, conn *sql.Conn, query string) (answer string) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), query).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// describe returns what the catalog says of the schema, and what pg_dump says where there is one.
func describe(t *testing.T, dsn string, pool *sql.DB) (schema []string, dump string) {
	t.Helper()
	schema, err := pgschema.Describe(t.Context(), pool)
	testkit.Must(t, err)
	dump, err = pgschema.Dump(t.Context(), dsn, "--schema-only", "--schema=sessionsql")
	if err != nil && !errors.Is(err, pgschema.ErrNoDumper) {
		t.Fatal(err)
	}
	return schema, dump
}
