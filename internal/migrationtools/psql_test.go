package migrationtools_test

import (
	"fmt"
	"strings"
)

var psql = tool{
	name: "psql", section: "psql", packages: "postgresql-client", probe: "psql --version",
	up: func(p *project, steps []step) {
		var files strings.Builder
		for _, s := range steps {
			file := "sessionsql.sql"
			if s.own != "" {
				file = fmt.Sprintf("%d.sql", s.number)
				p.write(file, s.own+";\n")
			}
			files.WriteString(" -f " + file)
		}
		const one = " -f sessionsql.sql"
		line, _, _ := strings.Cut(p.block(), "\n")
		if !strings.Contains(line, one) {
			p.Fatalf("the first line for psql lacks %q: %s", one, line)
		}
		p.run("sh", "-c", strings.Replace(line, one, files.String(), 1))
	},
	down: func(p *project) {
		_, line, _ := strings.Cut(p.block(), "\n")
		p.run("sh", "-c", line)
	},
}
