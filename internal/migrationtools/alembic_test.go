package migrationtools_test

import (
	"fmt"
	"testing"
)

var alembic = tool{
	name: "Alembic", section: "Alembic", packages: "alembic python3-psycopg2", files: "alembic",
	probe: "/usr/bin/python3 -c 'import alembic, psycopg2; print(alembic.__version__)'",
	up: func(p *project, steps []step) {
		p.writeAlembic(steps)
		p.run("/usr/bin/python3", "-m", "alembic.config", "upgrade", "head")
	},
	down: func(p *project) { p.run("/usr/bin/python3", "-m", "alembic.config", "downgrade", "-1") },
}

func (p *project) writeAlembic(steps []step) {
	p.Helper()
	for _, s := range steps {
		text := p.block()
		if s.own != "" {
			text = fmt.Sprintf("from alembic import op\n\ndef upgrade():\n    op.execute(%q)\n", s.own)
		}
		before := "None"
		if s.number > 1 {
			before = fmt.Sprintf("'%d'", s.number-1)
		}
		p.write(fmt.Sprintf("versions/%d.py", s.number),
			fmt.Sprintf("%s\nrevision = '%d'\ndown_revision = %s\n", text, s.number, before))
	}
	p.write("versions/sessionsql.sql", readFile(p.T, bundle))
}

func TestAlembicWritesAScriptThatInstallsTheBundle(t *testing.T) {
	alembic.require(t)
	psql.require(t)
	p := newProject(t, alembic)
	p.writeAlembic([]step{{number: 1}})
	p.run("sh", "-c", "/usr/bin/python3 -m alembic.config upgrade head --sql >script.sql && "+
		`psql -v ON_ERROR_STOP=1 -f script.sql "$DATABASE_URL"`)
	p.isAsInstalled(t)
}
