package sql_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

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
	file, err := os.ReadFile("dist/sessionsql.sql")
	if err != nil {
		t.Fatal(err)
	}
	header, footer, found := strings.Cut(string(file), bundle.Install())
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
		for _, at := range regexp.MustCompile(trap).FindAllStringIndex(string(file), -1) {
			t.Errorf("%s, near %q", name, file[max(0, at[0]-20):min(len(file), at[1]+20)])
		}
	}
}
