// Package sql embeds the SQL bundle, so that a Go program can install it without any file beside it.
package sql

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// Bundle is everything that install.sql names, with install.sql itself, uninstall.sql and the optional roles.sql; the same
// files that psql reads.
//
//go:embed install.sql uninstall.sql roles.sql grants.sql tables functions views
var Bundle embed.FS

// Version is the version of the bundle, as the installed function sessionsql.version() returns it.
var Version = version()

// include is a line of the manifest that names a file, relative to the manifest.
var include = regexp.MustCompile(`(?m)^\\ir (\S+)$`)

// Install returns install.sql with every \ir line replaced by the file that it names: one text of plain SQL.
func Install() string {
	return include.ReplaceAllStringFunc(read("install.sql"), func(line string) string {
		return read(strings.TrimPrefix(line, `\ir `))
	})
}

// Uninstall returns uninstall.sql.
func Uninstall() string { return read("uninstall.sql") }

// Roles returns roles.sql: least privilege, to be run after Install and in the same transaction.
func Roles() string { return read("roles.sql") }

// read panics on a missing file: the files are embedded, so that is a broken build and not a condition to handle.
func read(name string) string {
	text, err := fs.ReadFile(Bundle, path.Clean(name))
	if err != nil {
		panic(fmt.Sprintf("sessionsql: the bundle lacks a file that install.sql names: %v", err))
	}
	return string(text)
}

func version() string {
	literal := regexp.MustCompile(`SELECT '([^']+)'`).FindStringSubmatch(read("functions/version.sql"))
	if literal == nil {
		panic("sessionsql: functions/version.sql holds no version")
	}
	return literal[1]
}
