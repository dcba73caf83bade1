package pgcluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/testkit"
)

// fakeServer writes programs that print a version.
func fakeServer(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range serverPrograms {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
		testkit.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
	return dir
}

func TestFindBinariesTakesWhatTheEnvironmentNames(t *testing.T) {
	for _, version := range []string{"15.18 (Debian 15.18-0+deb12u1)", "18.4", "17beta1", "16"} {
		dir := fakeServer(t, version)
		t.Setenv("SESSIONSQL_PG_BIN", dir)
		t.Setenv("SESSIONSQL_PG_MAJOR", "")
		if found, err := FindBinaries(); err != nil || found != dir {
			t.Errorf("version %s: found %q, %v", version, found, err)
		}
		t.Setenv("SESSIONSQL_PG_MAJOR", version[:2])
		if found, err := FindBinaries(); err != nil || found != dir {
			t.Errorf("version %s demanded: found %q, %v", version, found, err)
		}
	}
}

func TestFindBinariesPrefersTheHighestMajor(t *testing.T) {
	root := t.TempDir()
	for _, major := range []string{"15", "17"} {
		testkit.Must(t, os.Symlink(fakeServer(t, major+".1"), filepath.Join(root, "postgres-"+major)))
	}
	patterns := []string{filepath.Join(root, "postgres-%d")}
	for _, test := range []struct {
		lowest, highest int
		want            string
	}{
		{15, 18, "postgres-17"},
		{15, 15, "postgres-15"},
	} {
		found, err := firstFit(nil, patterns, test.lowest, test.highest)
		if err != nil || found != filepath.Join(root, test.want) {
			t.Errorf("%d to %d: found %q, %v", test.lowest, test.highest, found, err)
		}
	}
	_, err := firstFit([]string{root}, patterns, 18, 18)
	if !errors.Is(err, ErrNoBinaries) ||
		!strings.Contains(err.Error(), "initdb, pg_ctl, postgres of version 18: install") {
		t.Errorf("error: %v", err)
	}
}

func TestFindBinariesSaysWhatIsMissing(t *testing.T) {
	empty := t.TempDir()
	for _, test := range []struct {
		name, bin, major string
		want             []string
	}{
		{"no program", empty, "", []string{empty + " has no program initdb", "SESSIONSQL_PG_BIN", "unset"}},
		{"no such major", "", "14", []string{"SESSIONSQL_PG_MAJOR=14", "15 to 18"}},
		{"no number", "", "new", []string{"SESSIONSQL_PG_MAJOR=new"}},
		{"too old", fakeServer(t, "9.6.24"), "", []string{"is of version 9, not 15 to 18"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("SESSIONSQL_PG_BIN", test.bin)
			t.Setenv("SESSIONSQL_PG_MAJOR", test.major)
			_, err := FindBinaries()
			if !errors.Is(err, ErrNoBinaries) {
				t.Fatalf("error: %v", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}
