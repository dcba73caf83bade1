package migrationtools_test

import (
	"slices"
	"strings"
	"testing"
)

// A kind of migration is the bundle, or a statement of the application's own.
type kind int

const (
	theBundle kind = iota
	ownStatement
)

// migrate adds a migration of each kind, and lets the tool run them.
func (p *project) migrate(kinds ...kind) {
	p.Helper()
	var steps []step
	for _, kind := range kinds {
		p.last++
		each := step{number: p.last}
		if kind == ownStatement {
			each.own = keepSettings(p.last)
		}
		steps = append(steps, each)
	}
	p.up(p, steps)
}

// TestToolsInstallTheBundle checks with each tool what docs/migrations.md promises.
func TestToolsInstallTheBundle(t *testing.T) {
	for _, each := range tools {
		t.Run(each.name, func(t *testing.T) {
			t.Parallel()
			each.require(t)
			t.Run("installs once", func(t *testing.T) { installsOnce(newProject(t, each)) })
			t.Run("upgrades and takes back", func(t *testing.T) { upgradesAndTakesBack(newProject(t, each)) })
		})
	}
}

func installsOnce(p *project) {
	p.migrate(ownStatement, theBundle, ownStatement)
	p.isAsInstalled(p.T)
	p.sameSettings(p.T, 1, atCommit)
	p.sameSettings(p.T, 1, 3)
	tokens, before := p.newSessions(p.T), p.written(p.T)

	p.migrate(ownStatement, theBundle, ownStatement)
	if after := p.written(p.T); !slices.Equal(before, after) {
		p.Errorf("the second run wrote: %q became %q", before, after)
	}
	p.sameSettings(p.T, 4, 6)
	p.keeps(p.T, tokens)
}

func upgradesAndTakesBack(p *project) {
	p.exec(p.T, "BEGIN;"+readFile(p.T, older)+"COMMIT;")
	tokens := p.newSessions(p.T)
	p.migrate(ownStatement, theBundle)
	p.isAsInstalled(p.T)
	p.sameSettings(p.T, 1, atCommit)
	p.keeps(p.T, tokens)

	p.down(p)
	if left := p.strings(p.T, "SELECT 'it' FROM pg_namespace WHERE nspname = 'sessionsql'"); left != nil {
		p.Errorf("%s left the schema", p.name)
	}
}

// A dump without rows, such as Rails' structure.sql, restores the tables alone.
func TestTheBundleRefusesASchemaWithoutItsRows(t *testing.T) {
	db := newDatabase(t)
	text := readFile(t, bundle)
	db.exec(t, text)
	db.exec(t, "DELETE FROM sessionsql.migration")
	_, err := db.ExecContext(t.Context(), text)
	if err == nil || !strings.Contains(err.Error(), "lacks rows of its own") {
		t.Errorf("installing again: %v", err)
	}
	db.exec(t, readFile(t, uninstall))
	db.exec(t, text)
	db.isAsInstalled(t)
}
