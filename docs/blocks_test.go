package docs

import (
	"context"
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

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

// run says how blocks of each tag are run. A block that cannot run has the tag "text".
var run = map[string]func(*testing.T, *pgcluster.Cluster, document, block){
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
	"go": {
		"sessionsql/example*_test.go", "sessionsql/*/example*_test.go", "adapters/*/example*_test.go",
		"adapters/*/*/example*_test.go", "internal/frameworks/*/example*_test.go", "examples/go/*.go",
	},
	"python":     {"examples/python/*.py"},
	"javascript": {"examples/javascript/*.js", "adapters/express/example.js"},
	"php":        {"examples/php/*.php"},
	"ruby":       {"examples/ruby/*.rb"},
	"java":       {"examples/java/*.java"},
}

// TestBlocksRun runs the code of every document.
func TestBlocksRun(t *testing.T) {
	cluster := sessiontest.StartCluster(t, nil)
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
					name := fmt.Sprintf("line %d, %s", b.line, b.tag)
					t.Run(name, func(t *testing.T) { do(t, cluster, d, b) })
				}
			}
			runSQL(t, cluster, d)
		})
	}
	t.Logf("blocks by tag: %v", counts)
	for _, tag := range []string{"go", "sh", "sql", "ini"} {
		if counts[tag] == 0 {
			t.Errorf("no block of the tag %s was found", tag)
		}
	}
}

// environment tells programs how to connect to a database, in the usual variables.
func environment(d *sessiontest.Database) []string {
	return append(os.Environ(), "DATABASE_URL="+d.PrimaryDSN(), "PGHOST=127.0.0.1",
		fmt.Sprintf("PGPORT=%d", d.Cluster.Primary.Port), "PGUSER=postgres", "PGDATABASE="+d.Name)
}

// program finds a client program: beside the server, or on the PATH, because some packages of servers have
// none. Without it the test fails where SESSIONSQL_REQUIRE_PACKAGES is set.
func program(t *testing.T, name string) string {
	t.Helper()
	folder, err := pgcluster.FindBinaries()
	testkit.Must(t, err)
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
	testkit.Must(t, err)
	return path
}

// runSQL feeds a document's SQL to psql, as somebody would who reads it from top to bottom.
func runSQL(t *testing.T, cluster *pgcluster.Cluster, d document) {
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
		dsn := sessiontest.NewDatabase(t, cluster).PrimaryDSN()
		command := exec.CommandContext(t.Context(),
			program(t, "psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", dsn)
		command.Stdin, command.Dir = strings.NewReader(script.String()), root
		var out, complaints strings.Builder
		command.Stdout, command.Stderr = &out, &complaints
		err := command.Run()
		t.Logf("%s%s", &out, &complaints)
		testkit.Must(t, err)
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
func runShell(t *testing.T, cluster *pgcluster.Cluster, _ document, b block) {
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
	command.Dir, command.Env = root, append(environment(sessiontest.NewDatabase(t, cluster)), "PATH="+path)
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
		testkit.Must(t, err)
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

// parseJSON checks the syntax.
func parseJSON(t *testing.T, _ *pgcluster.Cluster, _ document, b block) {
	var value any
	testkit.Must(t, json.Unmarshal([]byte(b.text), &value))
}

// applySettings puts lines of postgresql.conf into the server's and asks it for errors.
func applySettings(t *testing.T, cluster *pgcluster.Cluster, _ document, b block) {
	path := filepath.Join(cluster.Primary.DataDir, "postgresql.conf")
	before, err := os.ReadFile(path)
	testkit.Must(t, err)
	lines := strings.Count(string(before), "\n")
	testkit.Must(t, os.WriteFile(path, append(slices.Clone(before), b.text...), 0o600))
	defer func() { testkit.Must(t, os.WriteFile(path, before, 0o600)) }()
	// A setting that needs a restart is known, though it cannot be applied now.
	admin := testkit.OpenPool(t, cluster.Primary.DSN("postgres"))
	rows, err := admin.QueryContext(t.Context(), `
		SELECT COALESCE(f.name, ''), COALESCE(NULLIF(f.error, 'setting could not be applied'), '')
		FROM pg_file_settings AS f WHERE f.sourcefile = $1 AND f.sourceline > $2`, path, lines)
	testkit.Must(t, err)
	defer func() { _ = rows.Close() }()
	known := 0
	for rows.Next() {
		var name, problem string
		testkit.Must(t, rows.Scan(&name, &problem))
		known++
		if problem != "" {
			t.Errorf("%s: %s", name, problem)
		}
	}
	testkit.Must(t, rows.Err())
	if want := strings.Count(b.text, "="); known < want {
		t.Errorf("the server sees %d settings, not %d", known, want)
	}
}

// runGo runs a whole program; a part of one stands in an Example, which runs as a test.
func runGo(t *testing.T, cluster *pgcluster.Cluster, d document, b block) {
	if !strings.HasPrefix(b.text, "package main\n") {
		checkExcerpt(t, cluster, d, b)
		return
	}
	folder := consumer(t, b.text)
	command := exec.CommandContext(t.Context(), "go", "run", ".")
	command.Dir, command.Env = folder, environment(sessiontest.NewDatabase(t, cluster))
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
func checkExcerpt(t *testing.T, _ *pgcluster.Cluster, _ document, b block) {
	plain := func(text string) string {
		var lines strings.Builder
		for line := range strings.Lines(text) {
			lines.WriteString(strings.TrimSpace(line) + "\n")
		}
		return lines.String()
	}
	for _, pattern := range examples[b.tag] {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		testkit.Must(t, err)
		for _, path := range paths {
			source, err := os.ReadFile(path)
			testkit.Must(t, err)
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
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(program), 0o600))
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
	testkit.Must(t, err)
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
	testkit.Must(t, err)
	for line := range strings.Lines(string(sums)) {
		if regexp.MustCompile("docker|ory/|moby|opencontainers|containerd").MatchString(line) {
			t.Errorf("a consumer's go.sum has what dockertest needs: %s", line)
		}
	}
	linked := map[string]bool{}
	for path := range strings.FieldsSeq(
		goTool(t, folder, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "."),
	) {
		linked[path] = true
	}
	delete(linked, "example.org/consumer")
	delete(linked, "github.com/sessionsql/postgres")
	graph := strings.Count(goTool(t, folder, "list", "-m", "all"), "\n")
	text := read(t, "docs/development.md").text
	for _, want := range []string{
		fmt.Sprintf("%d lines of go.sum", strings.Count(string(sums), "\n")),
		fmt.Sprintf("%d modules in the graph", graph),
		fmt.Sprintf("%d modules linked", len(linked)),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/development.md does not say %q", want)
		}
	}
}

// TestAdaptersDownloadNothing compares the go.sum of a program that imports a package beside sessionsql with
// that of a program that imports sessionsql alone. It is the framework's own lines that a user has besides.
func TestAdaptersDownloadNothing(t *testing.T) {
	sums := func(path string) string {
		const program = "package main\n\nimport _ %q\n\nfunc main() {}\n"
		folder := consumer(t, fmt.Sprintf(program, "github.com/sessionsql/postgres/"+path))
		return testkit.ReadFile(t, filepath.Join(folder, "go.sum"))
	}
	alone := sums("sessionsql")
	for _, path := range []string{"sessionsql/web", "adapters/scs", "adapters/fiber"} {
		if got := sums(path); got != alone {
			t.Errorf("with %s this is go.sum:\n%s\nand with sessionsql alone:\n%s", path, got, alone)
		}
	}
}
