package sql_test

import (
	"io/fs"
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
