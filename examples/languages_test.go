package examples_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/testkit"
)

// A language has a program, which is run in the root of the module by the command that its first lines tell.
type language struct {
	name     string
	packages string // Debian's names of what it needs; scripts/test.sh installs them
	probe    string // a command of the shell that fails where one of them is missing
	command  string
	install  func(t *testing.T, root, into string) // makes another root, with what the program needs
}

var languages = []language{
	{name: "go", command: "./login", install: buildGo},
	{
		name:     "python",
		packages: "python3-psycopg, python3-psycopg-pool",
		probe:    "/usr/bin/python3 -c 'import psycopg, psycopg_pool'", // Debian's, of several on a PATH
		command:  "/usr/bin/python3 examples/python/login.py",
	},
	{
		name:     "javascript",
		packages: "nodejs, npm",
		probe:    "node --version && npm --version",
		command:  "node examples/javascript/login.js",
		install:  installNPM,
	},
	{
		name:     "php",
		packages: "php-cli, php-pgsql",
		probe:    `php -r 'exit(extension_loaded("pdo_pgsql") ? 0 : 1);'`,
		command:  "php -S 127.0.0.1:$PORT examples/php/login.php",
	},
	{
		name:     "ruby",
		packages: "ruby, ruby-pg, ruby-webrick",
		probe:    "ruby -r pg -r webrick -e ''",
		command:  "ruby examples/ruby/login.rb",
	},
	{
		name:     "java",
		packages: "default-jdk-headless, libpostgresql-jdbc-java",
		probe:    "javac -version && test -f /usr/share/java/postgresql.jar",
		command:  "java -cp /usr/share/java/postgresql.jar examples/java/Login.java",
	},
}

func buildGo(t *testing.T, root, into string) {
	t.Helper()
	execute(t, root, "go", "build", "-o", filepath.Join(into, "login"), "./examples/go")
	copyFiles(t, root, into, "examples/index.html")
}

// installNPM leaves the tree as it is: npm installs beside a copy of the program.
func installNPM(t *testing.T, root, into string) {
	t.Helper()
	copyFiles(t, root, into, "examples/index.html", "examples/javascript/login.js",
		"examples/javascript/package.json", "examples/javascript/package-lock.json")
	execute(t, filepath.Join(into, "examples/javascript"),
		"npm", "ci", "--prefer-offline", "--no-audit", "--no-fund")
}

func copyFiles(t *testing.T, root, into string, files ...string) {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root, file))
		testkit.Must(t, err)
		testkit.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(into, file)), 0o755))
		testkit.Must(t, os.WriteFile(filepath.Join(into, file), text, 0o644))
	}
}

func execute(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// prepare returns the folder in which the program runs. Where SESSIONSQL_REQUIRE_PACKAGES is set, a test
// without its packages fails.
func (l language) prepare(t *testing.T) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", l.probe).CombinedOutput(); err != nil {
		if os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "" {
			t.Fatalf("the example in %s needs %s: %v\n%s", l.name, l.packages, err, out)
		}
		t.Skipf("the example in %s is left out: it needs %s", l.name, l.packages)
	}
	root, err := filepath.Abs("..")
	testkit.Must(t, err)
	if l.install == nil {
		return root
	}
	into := t.TempDir()
	l.install(t, root, into)
	return into
}

// start runs the program in dir until the test ends, and returns when it answers.
func (l language) start(t *testing.T, dir string, own ...string) *site {
	t.Helper()
	port, err := pgcluster.FreePort()
	testkit.Must(t, err)
	log, err := os.Stat(cluster.Primary.LogPath())
	testkit.Must(t, err)
	output := &buffer{}
	s := &site{name: l.name, port: strconv.Itoa(port), logStart: log.Size(), output: output}
	s.tokens = map[string]bool{}

	// The shell kills the program when its input ends, which it also does when this process is killed.
	command := exec.Command("sh", "-c", fmt.Sprintf(`
		exec 3<&0
		%s </dev/null &
		program=$!
		{ cat <&3; kill -9 $program; } >/dev/null 2>&1 &
		wait $program`, l.command))
	input, err := command.StdinPipe()
	testkit.Must(t, err)
	command.Dir = dir
	command.Stdout, command.Stderr = output, output
	command.Env = append(environment(), "PORT="+s.port, fmt.Sprint("IDLE_TIMEOUT=", idleTimeout))
	command.Env = append(command.Env, own...)
	testkit.Must(t, command.Start())
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = input.Close()
		<-ended
		if t.Failed() {
			t.Logf("the program printed:\n%s", output)
		}
	})
	testkit.Eventually(t, "the program answers", func() bool {
		select {
		case <-ended:
			t.Fatalf("the program ended:\n%s", output)
		default:
		}
		response, err := http.Get("http://127.0.0.1:" + s.port + "/")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		page, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(page), "Where am I logged in?")
	})
	return s
}

// environment tells a program where the server is, as it would tell psql.
func environment() (variables []string) {
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PG") {
			variables = append(variables, variable)
		}
	}
	return append(variables, fmt.Sprint("PGPORT=", cluster.Primary.Port),
		"PGHOST=127.0.0.1", "PGUSER=postgres", "PGDATABASE=postgres", "PGSSLMODE=disable")
}

// A buffer is what a program has printed so far.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
