// Package express tests the npm package of this folder. The tests themselves are in test and need npm.
package express

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

// TestExpress runs each file of test with Node's own test runner, against the real express-session and
// Express. SESSIONSQL_REQUIRE_PACKAGES makes a missing Node or npm an error.
func TestExpress(t *testing.T) {
	probe := exec.CommandContext(t.Context(), "sh", "-c", "node --version && npm --version")
	if output, err := probe.CombinedOutput(); err != nil {
		if os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "" {
			t.Fatalf("adapters/express needs nodejs and npm: %v\n%s", err, output)
		}
		t.Skip("the tests of adapters/express are left out: they need nodejs and npm")
	}
	folder := install(t)
	files, err := filepath.Glob("test/*.test.js")
	testkit.Must(t, err)
	if len(files) == 0 {
		t.Fatal("there are no tests")
	}

	cluster := sessiontest.StartCluster(t, nil)
	database := sessiontest.NewDatabase(t, cluster)
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verbs := map[string]func(context.Context) error{
			"/stop": cluster.Primary.Stop, "/start": cluster.Primary.Start,
		}
		if err := verbs[r.URL.Path](r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	defer control.Close()
	root, err := filepath.Abs("../..")
	testkit.Must(t, err)
	environment := append(os.Environ(), "PGHOST=127.0.0.1", "PGUSER=postgres", "PGDATABASE="+database.Name,
		fmt.Sprint("PGPORT=", cluster.Primary.Port),
		"DATABASE_URL="+database.PrimaryDSN(), "CONTROL_URL="+control.URL,
		"BUNDLE="+filepath.Join(root, "sql/dist/sessionsql.sql"),
		"ROLES="+filepath.Join(root, "sql/roles.sql"),
		"DOCUMENT="+filepath.Join(root, "docs/frameworks.md"))

	passed := regexp.MustCompile(`(?m)^# pass [1-9]`)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			command := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=tap", file)
			command.Dir, command.Env = folder, environment
			output, err := command.CombinedOutput()
			t.Logf("%s", output)
			if err != nil || !passed.Match(output) {
				t.Errorf("%s: %v", command, err)
			}
		})
	}
}

// install copies the package to a folder of its own. There it installs what its tests need, and also the
// package itself as npm packs it.
func install(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	testkit.Must(t, os.CopyFS(folder, os.DirFS(".")))
	command := exec.CommandContext(t.Context(), "sh", "-euc", `
		npm ci --prefer-offline
		npm pack
		mkdir node_modules/sessionsql-express
		tar -xzf sessionsql-express-*.tgz -C node_modules/sessionsql-express --strip-components=1`)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return folder
}
