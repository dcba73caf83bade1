// Package pgschema describes an installed bundle, so that tests can compare two of them.
package pgschema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// Describe returns a line for each object of the schema sessionsql, with owner, privileges and comment.
func Describe(ctx context.Context, pool interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) (lines []string, err error) {
	rows, err := pool.QueryContext(ctx, `
		SELECT concat_ws(' ', 'routine', pg_get_functiondef(p.oid), pg_get_userbyid(p.proowner),
		  p.proacl::text, obj_description(p.oid, 'pg_proc'))
		FROM pg_proc AS p WHERE p.pronamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', 'relation', c.relname, c.relkind, c.relpersistence,
		  pg_get_userbyid(c.relowner), c.relacl::text, c.reloptions::text, obj_description(c.oid, 'pg_class'),
		  CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'i' THEN pg_get_indexdef(c.oid) END)
		FROM pg_class AS c WHERE c.relnamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', 'column', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
		  a.attnotnull, a.attidentity, a.attstattarget, a.attcompression, a.attstorage,
		  col_description(c.oid, a.attnum), pg_get_expr(e.adbin, e.adrelid))
		FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
		LEFT JOIN pg_attrdef AS e ON e.adrelid = c.oid AND e.adnum = a.attnum
		WHERE c.relnamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', 'toast', c.relname, o.reloptions::text)
		FROM pg_class AS c JOIN pg_class AS o ON o.oid = c.reltoastrelid
		WHERE c.relnamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', 'type', t.typname, t.typtype, format_type(t.typbasetype, NULL),
		  pg_get_userbyid(t.typowner))
		FROM pg_type AS t WHERE t.typnamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid))
		FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
		WHERE c.relnamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', 'migration', m.id, m.name) FROM sessionsql.migration AS m
		ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, rows.Err()
}

// ErrNoDumper says that there is no pg_dump for these servers: those from npm come without.
var ErrNoDumper = errors.New("pgschema: no pg_dump of the servers' major version beside them or on the PATH")

// Dump returns what pg_dump prints. It returns ErrNoDumper.
func Dump(ctx context.Context, dsn string, options ...string) (string, error) {
	dir, err := pgcluster.FindBinaries()
	if err != nil {
		return "", err
	}
	wanted, program := major(filepath.Join(dir, "postgres")), filepath.Join(dir, "pg_dump")
	if major(program) != wanted {
		program = "pg_dump"
	}
	if major(program) != wanted {
		return "", ErrNoDumper
	}
	dump, err := exec.CommandContext(ctx, program, append(options, dsn)...).Output()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		return "", fmt.Errorf("pgschema: pg_dump: %w: %s", err, failed.Stderr)
	case err != nil:
		return "", fmt.Errorf("pgschema: pg_dump: %w", err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(dump)) {
		// The words of these two are random, and psql alone knows them.
		if !strings.HasPrefix(line, `\restrict `) && !strings.HasPrefix(line, `\unrestrict `) {
			kept.WriteString(line)
		}
	}
	return kept.String(), nil
}

// major returns the digits of a program's major version, none where there is no such program.
func major(program string) string {
	// As in "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
	text, _ := exec.Command(program, "--version").Output()
	_, version, _ := strings.Cut(string(text), "(PostgreSQL) ")
	version, _, _ = strings.Cut(version, ".")
	return version
}
