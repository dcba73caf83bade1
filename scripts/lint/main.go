// Command lint checks the form of all Go and SQL, and the PL/pgSQL of the bundle. It prints a line for each
// finding, and fails when there is one.
//
// Lines end at 110 columns, of which a tab takes 4. The extension plpgsql_check plans every statement of
// every routine and finds mistakes that no test runs into. For that, lint installs the bundle and its roles
// on a server of its own. scripts/check.sh runs it in the repository's root, with SESSIONSQL_PG_BIN set to a
// server that has the extension.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/internal/pgcluster"
	bundle "github.com/sessionsql/postgres/sql"
)

// timeout bounds a run. A run takes seconds.
const timeout = 2 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	findings, err := lint(ctx, os.Stdout)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
	}
	if err != nil || findings > 0 {
		os.Exit(1)
	}
}

// lint returns the number of findings that it has printed. After the end of ctx it leaves no process and no
// file behind.
func lint(ctx context.Context, out io.Writer) (findings int, err error) {
	long, err := checkColumns(ctx, out)
	if err != nil {
		return long, err
	}
	routines, err := checkRoutines(ctx, out)
	return long + routines, err
}

// checkRoutines installs the bundle on a new server and checks its PL/pgSQL.
func checkRoutines(ctx context.Context, out io.Writer) (findings int, err error) {
	cluster, err := pgcluster.Start(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	pool, err := sql.Open("pgx", cluster.Primary.DSN("postgres"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	if err := install(ctx, pool); err != nil {
		return 0, err
	}
	return check(ctx, pool, out)
}

// install installs the bundle, its roles and the extension. It needs the roles because roles.sql makes
// routines too.
func install(ctx context.Context, pool *sql.DB) error {
	var offered bool
	err := pool.QueryRowContext(ctx,
		"SELECT count(*) > 0 FROM pg_available_extensions AS e WHERE e.name = 'plpgsql_check'").Scan(&offered)
	switch {
	case err != nil:
		return err
	case !offered:
		return errors.New("this server lacks plpgsql_check: set SESSIONSQL_PG_BIN to a server with it")
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, text := range []string{bundle.Install(), bundle.Roles(), "CREATE EXTENSION plpgsql_check"} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// A finding is a warning of plpgsql_check about a routine.
type finding struct {
	routine, level, message string
}

// accepted holds the findings that are intended, each with its reason. An entry that matches no finding is a
// finding itself.
var accepted = []finding{
	// The assignment calls a function for its effect, because PERFORM would start the executor.
	{"sessionsql.insert", "warning extra", `never read variable "asynchronous"`},
	{"sessionsql.touch_batch", "warning extra", `never read variable "asynchronous"`},
	{"sessionsql.update_payload", "warning extra", `never read variable "asynchronous"`},
}

// check turns on all classes of warnings, prints the findings that are not accepted, and returns their
// number.
func check(ctx context.Context, pool *sql.DB, out io.Writer) (findings int, err error) {
	rows, err := pool.QueryContext(ctx, `
		SELECT
		  p.oid::regproc::text,
		  COALESCE(f.level, ''),
		  COALESCE(f.lineno, 0),
		  COALESCE(f.message, ''),
		  concat_ws('; ', f.message, f.detail, f.hint, f.query)
		FROM pg_proc AS p
		JOIN pg_language AS l ON l.oid = p.prolang
		LEFT JOIN LATERAL plpgsql_check_function_tb(
		  p.oid,
		  COALESCE((SELECT t.tgrelid FROM pg_trigger AS t WHERE t.tgfoid = p.oid LIMIT 1), 0),
		  fatal_errors => false,
		  other_warnings => true,
		  extra_warnings => true,
		  performance_warnings => true,
		  security_warnings => true
		) AS f ON true
		WHERE p.pronamespace = 'sessionsql'::regnamespace
		  AND l.lanname = 'plpgsql'
		ORDER BY 1, 3, 4`)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	routines, met := map[string]bool{}, map[finding]bool{}
	for rows.Next() {
		var f finding
		var line int
		var said string
		if err := rows.Scan(&f.routine, &f.level, &line, &f.message, &said); err != nil {
			return findings, err
		}
		routines[f.routine] = true
		switch {
		case f.message == "":
		case slices.Contains(accepted, f):
			met[f] = true
		default:
			findings++
			text := strings.Join(strings.Fields(said), " ")
			fmt.Fprintf(out, "%s, line %d of its body: %s: %s\n", f.routine, line, f.level, text)
		}
	}
	if err := rows.Err(); err != nil {
		return findings, err
	}
	for _, f := range accepted {
		if !met[f] {
			findings++
			fmt.Fprintf(out, "%s: accepted, but no longer found: %s\n", f.routine, f.message)
		}
	}
	if len(routines) == 0 {
		return findings, errors.New("the bundle has no PL/pgSQL routine: nothing was checked")
	}
	fmt.Fprintf(out, "lint: %d routines, %d findings\n", len(routines), findings)
	return findings, nil
}
