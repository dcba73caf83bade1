// Package sql embeds the SQL bundle, so that a Go program can install it without any file beside it.
package sql

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Bundle is everything that install.sql names, with install.sql itself and uninstall.sql: the files that psql
// reads.
//
//go:embed *.sql tables migrations functions views
var Bundle embed.FS

// Version is the version of the bundle, as the installed function sessionsql.version() returns it.
var Version = constant("version", `'([^']+)'`)

// What the functions of these names return: the limits that a client can check before it sends anything.
var (
	MaxTimeoutSeconds = number("max_timeout")
	MaxSubjectBytes   = number("max_subject_bytes")
	MaxLabelBytes     = number("max_label_bytes")
)

// Install returns the bundle as one statement of plain SQL, which any driver and any tool can send. It does
// what psql does with install.sql, in one transaction, and leaves no setting behind.
func Install() string {
	return block(read("install.sql"), afterSteps)
}

// afterSteps waits before any lock is taken, so that calls end that were under way when UpgradeSteps was
// committed.
const afterSteps = "IF state.due AND NOT state.fresh AND NOT state.before_2 THEN\n" +
	"PERFORM pg_catalog.pg_sleep(0.25);\nEND IF;\n"

// UpgradeSteps returns the steps to commit one after the other before Install, where an older bundle is in
// use. They do nothing elsewhere. The first changes the session table, so that its lock is held for as short
// as it can. The second does the rest, but drops nothing that calls under way may still need and leaves the
// old version in place.
func UpgradeSteps() []string {
	const upgradesOnly = "IF state.fresh OR NOT state.due THEN RETURN; END IF;\n"
	manifest := read("install.sql")
	tables, _, _ := strings.Cut(manifest, `\if :sessionsql_before_2`)
	last := strings.NewReplacer("\\ir functions/version.sql\n", "", "\\ir migrations/005_leftovers.sql\n", "")
	return []string{
		block(tables+"\\endif\n\\ir end.sql\n", upgradesOnly),
		block(last.Replace(manifest), upgradesOnly),
	}
}

// block returns a manifest as one DO statement. It puts afterState behind the query whose columns the
// conditions name.
func block(manifest, afterState string) string {
	var block, query strings.Builder
	block.WriteString("DO $sessionsql$\nDECLARE\n  state pg_catalog.record;\nBEGIN\n")
	for line := range strings.Lines(manifest) {
		command, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch command {
		case `\ir`:
			fmt.Fprintf(&block, "EXECUTE $file$\n%s$file$;\n", read(argument))
		case `\gset`:
			fmt.Fprintf(&block, "SELECT q.* INTO state FROM (\n%s) AS q;\n%s", query.String(), afterState)
			query.Reset()
		case `\if`:
			_, column, _ := strings.Cut(argument, ":sessionsql_")
			fmt.Fprintf(&block, "IF state.%s THEN\n", column)
		case `\endif`:
			block.WriteString("END IF;\n")
		case "--", "":
		default:
			query.WriteString(line)
		}
	}
	block.WriteString("END\n$sessionsql$;\n")
	return block.String()
}

// Uninstall returns uninstall.sql.
func Uninstall() string { return read("uninstall.sql") }

// Roles returns roles.sql: least privilege, to be run once after Install and in the same transaction.
func Roles() string { return read("roles.sql") }

// Router returns router.sql, which makes a database with the bundle a router of shards.
func Router() string { return read("router.sql") }

// read panics on a missing file, because the files are embedded: that is a broken build and no condition to
// handle.
func read(name string) string {
	text, err := fs.ReadFile(Bundle, path.Clean(name))
	if err != nil {
		panic(fmt.Sprintf("sessionsql: the bundle lacks a file that install.sql names: %v", err))
	}
	return string(text)
}

// constant returns what a function selects that selects nothing but a literal of this form.
func constant(function, literal string) string {
	text := read("functions/" + function + ".sql")
	selected := regexp.MustCompile(`(?m)^  SELECT ` + literal).FindStringSubmatch(text)
	if selected == nil {
		panic(fmt.Sprintf("sessionsql: functions/%s.sql selects no literal", function))
	}
	return selected[1]
}

func number(function string) int64 {
	n, err := strconv.ParseInt(constant(function, `(\d+)`), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("sessionsql: functions/%s.sql: %v", function, err))
	}
	return n
}
