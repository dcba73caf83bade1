package docs

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/internal/pgcluster"
	bundle "github.com/sessionsql/postgres/sql"
)

// run says how blocks of each tag are run. A block that cannot run has the tag "text".
var run = map[string]func(*testing.T, *server, document, block){
	"text":       nil,
	"sql":        nil, // all of a document together, because later ones use what earlier ones make
	"sh":         runShell,
	"go":         runGo,
	"json":       parseJSON,
	"ini":        applySettings,
	"python":     checkExcerpt,
	"javascript": checkExcerpt,
	"php":        checkExcerpt,
	"ruby":       checkExcerpt,
	"java":       checkExcerpt,
}

// examples are the files that run as tests, and from which documents may show a part.
var examples = map[string][]string{
	"go":         {"sessionsql/example*_test.go", "adapters/*/example*_test.go", "examples/go/*.go"},
	"python":     {"examples/python/*.py"},
	"javascript": {"examples/javascript/*.js"},
	"php":        {"examples/php/*.php"},
	"ruby":       {"examples/ruby/*.rb"},
	"java":       {"examples/java/*.java"},
}

// TestBlocksRun runs the code of every document.
func TestBlocksRun(t *testing.T) {
	s := startServer(t)
	counts := map[string]int{}
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			counts[b.tag]++
		}
		t.Run(d.path, func(t *testing.T) {
			for _, b := range d.blocks {
				do, known := run[b.tag]
				switch {
				case b.runner != "": // TestNamedTestsExist looks for it
				case !known:
					t.Errorf("line %d: no rule to run blocks of the tag %q", b.line, b.tag)
				case do != nil:
					t.Run(fmt.Sprintf("line %d, %s", b.line, b.tag), func(t *testing.T) { do(t, s, d, b) })
				}
			}
			runSQL(t, s, d)
		})
	}
	t.Logf("blocks by tag: %v", counts)
	for _, tag := range []string{"go", "sh", "sql", "ini"} {
		if counts[tag] == 0 {
			t.Errorf("no block of the tag %s was found", tag)
		}
	}
}

// A server is a cluster that the blocks use, and the databases in it.
type server struct {
	cluster *pgcluster.Cluster
	admin   *sql.DB
	made    int
}

func startServer(t *testing.T) *server {
	t.Helper()
	cluster, err := pgcluster.Start(t.Context(), nil)
	must(t, err)
	t.Cleanup(func() { must(t, cluster.Close()) })
	return &server{cluster: cluster, admin: open(t, cluster.Primary.DSN("postgres"))}
}

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("pgx", dsn)
	must(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// database makes a database with the bundle in it and returns its DSN.
func (s *server) database(t *testing.T) string {
	t.Helper()
	s.made++
	name := fmt.Sprintf("docs%d", s.made)
	_, err := s.admin.ExecContext(t.Context(), "CREATE DATABASE "+name)
	must(t, err)
	dsn := s.cluster.Primary.DSN(name)
	_, err = open(t, dsn).ExecContext(t.Context(), bundle.Install())
	must(t, err)
	return dsn
}

// environment is for programs that connect to a database by what is usual.
func (s *server) environment(dsn string) []string {
	name := dsn[strings.LastIndex(dsn, "/")+1 : strings.LastIndex(dsn, "?")]
	return append(os.Environ(), "DATABASE_URL="+dsn, "PGHOST=127.0.0.1",
		fmt.Sprintf("PGPORT=%d", s.cluster.Primary.Port), "PGUSER=postgres", "PGDATABASE="+name)
}

// program finds a client program: beside the server, or on the PATH, because some packages of servers have
// none. Without it the test fails where SESSIONSQL_REQUIRE_PACKAGES is set.
func program(t *testing.T, name string) string {
	t.Helper()
	folder, err := pgcluster.FindBinaries()
	must(t, err)
	if path := filepath.Join(folder, name); exec.Command(path, "--version").Run() == nil {
		return path
	}
	path, err := exec.LookPath(name)
	if err == nil {
		err = exec.Command(path, "--version").Run() // Debian's may lead nowhere
	}
	if err != nil && os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") == "" {
		t.Skipf("%s is missing: what needs it does not run", name)
	}
	must(t, err)
	return path
}

// runSQL feeds a document's SQL to psql, as somebody would who reads it from top to bottom.
func runSQL(t *testing.T, s *server, d document) {
	var script strings.Builder
	for _, b := range d.blocks {
		if b.tag == "sql" && b.runner == "" {
			fmt.Fprintf(&script, "\\echo line %d\n%s", b.line, b.text)
		}
	}
	if script.Len() == 0 {
		return
	}
	t.Run("sql", func(t *testing.T) {
		command := exec.CommandContext(t.Context(), program(t, "psql"),
			"--no-psqlrc", "--set=ON_ERROR_STOP=1", s.database(t))
		command.Stdin, command.Dir = strings.NewReader(script.String()), root
		var out, complaints strings.Builder
		command.Stdout, command.Stderr = &out, &complaints
		err := command.Run()
		t.Logf("%s%s", &out, &complaints)
		must(t, err)
		if strings.Contains(complaints.String(), `\`) {
			t.Error("psql does not understand one of its own commands")
		}
		want := regexp.MustCompile(`(?s)\{"cart": \[1\]\} \|       1\n.* 2\n.* t\n`)
		if d.path == "README.md" && !want.MatchString(out.String()) {
			t.Errorf("it does not print what matches %s", want)
		}
	})
}

// runShell runs lines in a shell at the root. CI runs our own scripts by themselves and for minutes, so of
// these it checks that they know their arguments.
func runShell(t *testing.T, s *server, _ document, b block) {
	var kept strings.Builder
	for line := range strings.Lines(b.text) {
		if found := ownScript.FindStringSubmatch(line); found != nil {
			knows(t, found[1], strings.Fields(found[2]))
		} else {
			kept.WriteString(line)
		}
	}
	if strings.TrimSpace(kept.String()) == "" {
		return
	}
	path := os.Getenv("PATH")
	for _, name := range []string{"psql", "pgbench"} {
		if strings.Contains(kept.String(), name) {
			path = filepath.Dir(program(t, name)) + ":" + path
		}
	}
	command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", kept.String())
	command.Dir, command.Env = root, append(s.environment(s.database(t)), "PATH="+path)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, kept.String(), out)
	}
}

var ownScript = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*(?:\./)?(scripts/\w+\.sh|\.ci/run)((?: +[^#\s]+)*)`)

// helps are what scripts say of themselves, asked once because some are compiled for it.
var helps = map[string]string{}

// knows checks a script's arguments against what it says of itself.
func knows(t *testing.T, script string, arguments []string) {
	t.Helper()
	if script == "scripts/test.sh" { // passes them on to go test
		for _, name := range arguments {
			if namedTest.MatchString(name) {
				continue // see TestNamedTestsExist
			}
			if !slices.Contains([]string{"-run", "-v", "./sessionsql", "./docs", "."}, name) {
				t.Errorf("%s is none of what go test is given here", name)
			}
		}
		return
	}
	if script == ".ci/run" {
		_, err := os.Stat(filepath.Join(root, script))
		must(t, err)
		return
	}
	if helps[script] == "" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, "./"+script, "-h")
		command.Dir = root
		help, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%s -h: %v\n%s", script, err, help)
		}
		helps[script] = string(help)
	}
	words := regexp.MustCompile(`[\w-]+`).FindAllString(helps[script], -1)
	for i, argument := range arguments {
		name := strings.TrimLeft(argument, "-")
		isValue := name == argument && i > 0 && strings.HasPrefix(arguments[i-1], "-")
		if !isValue && !slices.Contains(words, argument) && !slices.Contains(words, "-"+name) {
			t.Errorf("%s does not know %s; it says\n%s", script, argument, helps[script])
		}
	}
}

// parseJSON parses.
func parseJSON(t *testing.T, _ *server, _ document, b block) {
	var value any
	must(t, json.Unmarshal([]byte(b.text), &value))
}

// applySettings puts lines of postgresql.conf into the server's and asks it what it thinks of them.
func applySettings(t *testing.T, s *server, _ document, b block) {
	path := filepath.Join(s.cluster.Primary.DataDir, "postgresql.conf")
	before, err := os.ReadFile(path)
	must(t, err)
	lines := strings.Count(string(before), "\n")
	must(t, os.WriteFile(path, append(slices.Clone(before), b.text...), 0o600))
	defer func() { must(t, os.WriteFile(path, before, 0o600)) }()
	// A setting that needs a restart is known, though it cannot be applied now.
	rows, err := s.admin.QueryContext(t.Context(), `
		SELECT COALESCE(f.name, ''), COALESCE(NULLIF(f.error, 'setting could not be applied'), '')
		FROM pg_file_settings AS f WHERE f.sourcefile = $1 AND f.sourceline > $2`, path, lines)
	must(t, err)
	defer func() { _ = rows.Close() }()
	known := 0
	for rows.Next() {
		var name, problem string
		must(t, rows.Scan(&name, &problem))
		known++
		if problem != "" {
			t.Errorf("%s: %s", name, problem)
		}
	}
	must(t, rows.Err())
	if want := strings.Count(b.text, "="); known < want {
		t.Errorf("the server sees %d settings, not %d", known, want)
	}
}

// runGo runs a whole program; a part of one stands in an Example, which runs as a test.
func runGo(t *testing.T, s *server, d document, b block) {
	if !strings.HasPrefix(b.text, "package main\n") {
		checkExcerpt(t, s, d, b)
		return
	}
	folder := consumer(t, b.text)
	command := exec.CommandContext(t.Context(), "go", "run", ".")
	command.Dir, command.Env = folder, append(s.environment(s.database(t)), "GOFLAGS=-mod=mod")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, want, found := strings.Cut(b.text, "// Output: ")
	want, _, _ = strings.Cut(want, "\n")
	if !found || strings.TrimSpace(string(out)) != want {
		t.Errorf("it prints %q and promises %q", out, want)
	}
}

// checkExcerpt looks for a block's lines in the examples, one after the other; their indentation may differ.
func checkExcerpt(t *testing.T, _ *server, _ document, b block) {
	plain := func(text string) string {
		var lines strings.Builder
		for line := range strings.Lines(text) {
			lines.WriteString(strings.TrimSpace(line) + "\n")
		}
		return lines.String()
	}
	for _, pattern := range examples[b.tag] {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		must(t, err)
		for _, path := range paths {
			source, err := os.ReadFile(path)
			must(t, err)
			if strings.Contains("\n"+plain(string(source)), "\n"+plain(b.text)) {
				return
			}
		}
	}
	t.Errorf("it is no whole program, and no example has these lines: %q", examples[b.tag])
}

// consumer makes a module of a program that uses this one, as somebody elsewhere would. It returns its
// folder.
func consumer(t *testing.T, program string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	module, err := filepath.Abs(root)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(program), 0o600))
	const path = "github.com/sessionsql/postgres"
	for _, arguments := range [][]string{
		{"mod", "init", "example.org/consumer"},
		{"mod", "edit", "-require=" + path + "@v0.0.0", "-replace=" + path + "=" + module},
		{"mod", "tidy"},
	} {
		goTool(t, folder, arguments...)
	}
	return folder
}

func goTool(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", arguments...)
	command.Dir = folder
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go %q: %v\n%s", arguments, err, stderr.String())
	}
	return string(out)
}

// TestTheReadmesProgramIsThePackages compares the program in the README with the one in the package's
// documentation.
func TestTheReadmesProgramIsThePackages(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root, "sessionsql", "doc.go"))
	must(t, err)
	var comment strings.Builder
	for line := range strings.Lines(string(source)) {
		comment.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "//"), "\t"))
	}
	for _, b := range read(t, "README.md").blocks {
		if b.tag == "go" && !strings.Contains(comment.String(), "\n\n"+b.text+"\n") {
			t.Errorf("sessionsql/doc.go has another program than README.md, line %d", b.line)
		}
	}
}

// TestWhatAConsumerDownloads counts what a module gets that imports the package, and compares it with what
// docs/development.md says.
func TestWhatAConsumerDownloads(t *testing.T) {
	var program string
	for _, b := range read(t, "README.md").blocks {
		if b.tag == "go" {
			program = b.text
		}
	}
	folder := consumer(t, program)
	sums, err := os.ReadFile(filepath.Join(folder, "go.sum"))
	must(t, err)
	for line := range strings.Lines(string(sums)) {
		if regexp.MustCompile("docker|ory/|moby|opencontainers|containerd").MatchString(line) {
			t.Errorf("a consumer's go.sum has what dockertest needs: %s", line)
		}
	}
	linked := goTool(t, folder, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	modules := strings.Fields(linked)
	slices.Sort(modules)
	others := len(slices.Compact(modules)) - len([]string{"the program", "this module"})
	graph := strings.Count(goTool(t, folder, "list", "-m", "all"), "\n")
	text := read(t, "docs/development.md").text
	for _, want := range []string{
		fmt.Sprintf("%d lines of go.sum", strings.Count(string(sums), "\n")),
		fmt.Sprintf("%d modules in the graph", graph),
		fmt.Sprintf("%d modules linked", others),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/development.md does not say %q", want)
		}
	}
}
