package migrationtools_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A tool runs migrations.
type tool struct {
	name     string // in the document's table
	section  string // the heading above the document's block
	packages string // Debian's names of what it needs; scripts/test.sh installs them
	probe    string // a command that prints versions, and fails where a package is missing
	files    string // the folder below testdata whose files a project begins with
	up       func(p *project, steps []step)
	down     func(p *project) // takes the last migration back
}

var tools = []tool{
	psql, alembic, django, activeRecord, golangMigrate, gooseTool, sqlMigrate, dbmate, nodePgMigrate, jdbc,
	liquibase,
}

// require returns what the probe prints. It skips a test whose tool this machine lacks, and fails the test
// where SESSIONSQL_REQUIRE_PACKAGES is set.
func (each tool) require(t *testing.T) string {
	t.Helper()
	if each.probe == "" {
		return ""
	}
	output, err := exec.CommandContext(t.Context(), "sh", "-c", each.probe).CombinedOutput()
	if err != nil && os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "" {
		t.Fatalf("%s needs %s: %v\n%s", each.name, each.packages, err, output)
	} else if err != nil {
		t.Skipf("%s is left out: it needs %s", each.name, each.packages)
	}
	t.Logf("%s %s", each.name, output)
	return string(output)
}

// A project is an application's folder with the files of a tool, and its database.
type project struct {
	*testing.T
	database
	tool
	folder string
	last   int // the number of the last migration
}

// A step is one migration: a statement of the application's own, or the bundle if there is none.
type step struct {
	number int
	own    string
}

func newProject(t *testing.T, with tool) *project {
	t.Helper()
	p := &project{T: t, database: newDatabase(t), tool: with, folder: t.TempDir()}
	if with.files != "" {
		must(t, os.CopyFS(p.folder, os.DirFS(filepath.Join("testdata", with.files))))
	}
	p.write("sessionsql.sql", readFile(t, bundle))
	p.write("uninstall.sql", readFile(t, uninstall))
	return p
}

// block returns the document's block for the tool.
func (p *project) block() string {
	p.Helper()
	return block(p.T, p.section)
}

func (p *project) write(name, text string) {
	p.Helper()
	path := filepath.Join(p.folder, name)
	must(p.T, os.MkdirAll(filepath.Dir(path), 0o755))
	must(p.T, os.WriteFile(path, []byte(text), 0o644))
}

// run runs a program in the project's folder.
func (p *project) run(program string, arguments ...string) {
	p.Helper()
	command := exec.CommandContext(p.Context(), program, arguments...)
	command.Dir = p.folder
	command.Env = append(os.Environ(),
		"DATABASE_URL="+p.dsn, "JDBC_URL="+p.jdbcURL(), "PYTHONDONTWRITEBYTECODE=1", "JITI_FS_CACHE=false",
		"PATH="+npmPath())
	if output, err := command.CombinedOutput(); err != nil {
		p.Fatalf("%v: %v\n%s", command.Args, err, output)
	}
}

// jdbcURL returns the database's address as JDBC wants it.
func (p *project) jdbcURL() string {
	return "jdbc:" + strings.Replace(p.dsn, "migrator@", "", 1) + "&user=migrator"
}
