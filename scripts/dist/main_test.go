package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/testkit"
)

const (
	root = "../.."
	old  = "0.1.0"
)

// oldPath is where the old version's "bundle" or "roles" lies.
func oldPath(name string) string {
	return root + "/sessionsql/testdata/" + name + "-" + old + "-3068df4.sql"
}

// server has the extension among its files, in this version and in the old one; they are in the folder
// extensions.
var (
	server     *pgcluster.Cluster
	extensions string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "sessionsql-dist-")
	if err == nil {
		defer func() { _ = os.RemoveAll(folder) }()
		server, err = startServer(context.Background(), folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = server.Close() }()
	return m.Run()
}

// startServer starts a server that finds the extension. Since 18 a setting names further folders for that. An
// older server looks in one place, beside its programs, so it runs from a copy of them in folder.
func startServer(ctx context.Context, folder string) (*pgcluster.Cluster, error) {
	if err := os.Chmod(folder, 0o755); err != nil { // for the user that runs the server
		return nil, err
	}
	options := &pgcluster.Options{Settings: map[string]string{}}
	binaries, err := pgcluster.FindBinaries()
	if err != nil {
		return nil, err
	}
	version, err := exec.Command(filepath.Join(binaries, "postgres"), "--version").Output()
	if err != nil {
		return nil, err
	}
	extensions = filepath.Join(folder, "extension")
	major, _ := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(string(version)))
	if major >= 18 {
		options.Settings["extension_control_path"] = folder + ":$system"
	} else if options.BinDir, extensions, err = copyServer(binaries, folder); err != nil {
		return nil, err
	}
	if err := write(root, extensions); err != nil {
		return nil, err
	}
	script, err := oldScript()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(extensions, "sessionsql--"+old+".sql")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		return nil, err
	}
	return pgcluster.Start(ctx, options)
}

// oldScript is the bundle of the old version as an extension of that time would have had it.
func oldScript() (string, error) {
	text, err := os.ReadFile(oldPath("bundle"))
	return string(text) +
		"SELECT pg_catalog.pg_extension_config_dump('sessionsql.session', '');\n" +
		"SELECT pg_catalog.pg_extension_config_dump('sessionsql.session_id_seq', '');\n", err
}

// copyServer mirrors a server by links into folder. It copies the programs, because they find all other files
// from where they lie. It returns the new folders of the programs and of extensions.
func copyServer(binaries, folder string) (programs, extensions string, err error) {
	account, err := pgcluster.ServerCredential()
	if err != nil {
		return "", "", err
	}
	show := exec.Command(filepath.Join(binaries, "initdb"), "--show", "--pgdata="+folder)
	show.SysProcAttr = &syscall.SysProcAttr{Credential: account}
	shown, err := show.CombinedOutput()
	share := regexp.MustCompile(`(?m)^ *share_path=(.*)$`).FindStringSubmatch(string(shown))
	if err != nil || share == nil {
		return "", "", fmt.Errorf("initdb --show: %w: %s", err, shown)
	}
	if binaries, err = filepath.EvalSymlinks(binaries); err != nil {
		return "", "", err
	}
	system := filepath.Join(share[1], "extension")
	if system, err = filepath.EvalSymlinks(system); err != nil {
		return "", "", err
	}
	top := filepath.Dir(binaries)
	for !strings.HasPrefix(system, top+"/") {
		top = filepath.Dir(top)
	}
	if err := mirror(top, folder, binaries, system); err != nil {
		return "", "", err
	}
	programs = filepath.Join(folder, strings.TrimPrefix(binaries, top))
	for _, name := range []string{"initdb", "pg_ctl", "postgres"} {
		program := filepath.Join(programs, name)
		text, err := os.ReadFile(program)
		if err == nil {
			err = os.Remove(program) // the link
		}
		if err == nil {
			err = os.WriteFile(program, text, 0o755)
		}
		if err != nil {
			return "", "", err
		}
	}
	return programs, filepath.Join(folder, strings.TrimPrefix(system, top)), nil
}

// mirror makes links in folder to everything in source, but folders where those lead to one of real.
func mirror(source, folder string, real ...string) error {
	entries, err := os.ReadDir(source)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		from, to := filepath.Join(source, entry.Name()), filepath.Join(folder, entry.Name())
		leads := false
		for _, path := range real {
			leads = leads || strings.HasPrefix(path+"/", from+"/")
		}
		if leads {
			err = mirror(from, to, real...)
		} else {
			err = os.Symlink(from, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var databases atomic.Int64

// newDatabase makes an empty database and runs statements in it.
func newDatabase(t testing.TB, statements ...string) *database {
	t.Helper()
	d := &database{t: t, name: fmt.Sprintf("test%d", databases.Add(1))}
	connect(t, server.Primary.DSN("postgres")).MustExec("CREATE DATABASE " + d.name)
	d.DB = connect(t, d.dsn())
	for _, statement := range statements {
		d.MustExec(statement)
	}
	return d
}

type database struct {
	*sqlx.DB
	t    testing.TB
	name string
}

// MustExec fails the test. It does not panic, which would leave the server's folder behind.
func (d *database) MustExec(query string, args ...any) {
	d.t.Helper()
	if _, err := d.Exec(query, args...); err != nil {
		d.t.Fatal(err)
	}
}

func (d *database) dsn() string { return server.Primary.DSN(d.name) }

func connect(t testing.TB, dsn string) *sqlx.DB {
	t.Helper()
	return sqlx.NewDb(testkit.OpenPool(t, dsn), "pgx")
}

// lines returns the only column of a query.
func lines(t testing.TB, from sqlx.Queryer, query string) []string {
	t.Helper()
	var values []string
	if err := sqlx.Select(from, &values, query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return values
}

func sqlState(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// lockTimeout is what an upgrade ends with beside a transaction that has read the table: it can be run again.
const lockTimeout = "55P03"

func untilUnlocked(pool interface {
	Exec(query string, args ...any) (sql.Result, error)
}, statement string,
) error {
	for {
		if _, err := pool.Exec(statement); sqlState(err) != lockTimeout {
			return err
		}
		time.Sleep(250 * time.Millisecond)
	}
}
