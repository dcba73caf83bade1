package main

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	bundle "github.com/sessionsql/postgres/sql"
)

// comment is what the server, PGXN and pg_tle say about the extension.
const comment = "Sessions for web applications: keepalive, conflict detection, log out everywhere"

//go:embed templates
var templates embed.FS

// render fills in one of the templates.
func render(name string, values any) string {
	var text bytes.Buffer
	parsed := template.Must(template.ParseFS(templates, "templates/"+name))
	if err := parsed.Execute(&text, values); err != nil {
		panic(err) // a template that names no value of ours
	}
	return text.String()
}

// oneFile returns the bundle as one statement below a header for people and for migration tools.
func oneFile() string {
	return render("onefile.sql", map[string]string{"Statement": bundle.Install()})
}

// objects are what the bundle makes and an extension counts among its members by name.
const objects = `(?m)^CREATE (?:OR REPLACE |UNLOGGED )?` +
	`(?:TABLE|VIEW|DOMAIN|FUNCTION|PROCEDURE) sessionsql\.(\w+)`

// files returns everything that is packaged, by its name in the output folder. The extension updates from the
// older versions.
func files(older []string) map[string]string {
	const separator = ",\n        "
	values := map[string]string{
		"Comment":   comment,
		"Version":   bundle.Version,
		"Older":     literals(older, ", "),
		"Statement": bundle.Install(),
		"Objects":   literals(named(objects), separator),
		"Tables":    literals(emptyTables(), separator),
	}
	values["Script"] = render("extension.sql", values)
	made := map[string]string{
		"sessionsql--" + bundle.Version + ".sql": only("CREATE EXTENSION sessionsql", values["Script"]),
		"sessionsql-pgtle.sql":                   render("pgtle.sql", values),
	}
	for _, from := range older {
		name := "sessionsql--" + from + "--" + bundle.Version + ".sql"
		made[name] = only("ALTER EXTENSION sessionsql UPDATE", values["Script"])
	}
	for _, name := range []string{"sessionsql.control", "Makefile", "META.json"} {
		made[name] = render(name, values)
	}
	return made
}

// only returns an extension's script, which psql refuses to run.
func only(command, script string) string {
	return fmt.Sprintf("\\echo Use \"%s\" to load this file. \\quit\n\n%s", command, script)
}

// named returns what the first group of a pattern matches in the bundle, each once.
func named(pattern string) []string {
	names := map[string]bool{}
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(bundle.Install(), -1) {
		names[match[1]] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// emptyTables returns the tables that an installation leaves empty. Its own statements begin in column one,
// those of function bodies further right.
func emptyTables() []string {
	filled := named(`(?m)^INSERT INTO sessionsql\.(\w+)`)
	return slices.DeleteFunc(named(`(?m)^CREATE TABLE sessionsql\.(\w+)`), func(table string) bool {
		return slices.Contains(filled, table)
	})
}

// literals returns names and versions, which hold no quote, as literals of SQL.
func literals(names []string, separator string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "'" + name + "'"
	}
	return strings.Join(quoted, separator)
}

// olderVersions returns the releases that a changelog names before this one, in its order.
func olderVersions(changelog string) (older []string) {
	headings := regexp.MustCompile(`(?m)^## \[?(\d+\.\d+\.\d+)\b`)
	for _, heading := range headings.FindAllStringSubmatch(changelog, -1) {
		if slices.Compare(numbers(heading[1]), numbers(bundle.Version)) < 0 {
			older = append(older, heading[1])
		}
	}
	return older
}

func numbers(version string) (parts []int) {
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part) // digits, by the pattern
		parts = append(parts, n)
	}
	return parts
}

// write packages the repository at root into a folder: the extension, ready for make install, and its archive
// for PGXN. It replaces files and removes none.
func write(root, folder string) error {
	changelog, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return fmt.Errorf("dist: %w", err)
	}
	made := files(olderVersions(string(changelog)))
	made["CHANGELOG.md"] = string(changelog)
	sources := map[string]string{"LICENSE": "LICENSE", "doc/sessionsql.md": "docs/install.md"}
	for name, source := range sources {
		text, err := os.ReadFile(filepath.Join(root, source))
		if err != nil {
			return fmt.Errorf("dist: %w", err)
		}
		made[name] = string(text)
	}
	distribution := "sessionsql-" + bundle.Version
	archive, err := archived(distribution, made)
	if err != nil {
		return fmt.Errorf("dist: %w", err)
	}
	made[distribution+".zip"] = archive
	for name, text := range made {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("dist: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("dist: %w", err)
		}
	}
	return nil
}

// archived returns files as a zip archive, in which they lie in one folder. The same files make the same
// archive.
func archived(folder string, files map[string]string) (string, error) {
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file, err := writer.Create(folder + "/" + name)
		if err != nil {
			return "", err
		}
		if _, err := file.Write([]byte(files[name])); err != nil {
			return "", err
		}
	}
	err := writer.Close()
	return archive.String(), err
}
