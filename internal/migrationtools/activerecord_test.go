package migrationtools_test

import (
	"fmt"
	"strings"
)

var activeRecord = tool{
	name: "ActiveRecord", section: "ActiveRecord", files: "activerecord",
	packages: "ruby-activerecord ruby-pg",
	probe:    "ruby -r pg -r active_record -e 'puts ActiveRecord.version'",
	up: func(p *project, steps []step) {
		for _, s := range steps {
			text := p.block()
			if s.own != "" {
				text = fmt.Sprintf("class InstallSessionsql < ActiveRecord::Migration[6.1]\n"+
					"  def up = execute(%q)\nend\n", s.own)
			}
			// The name of a class comes from the name of its file.
			p.write(fmt.Sprintf("migrate/%d_step%d.rb", s.number, s.number),
				strings.Replace(text, "InstallSessionsql", fmt.Sprintf("Step%d", s.number), 1))
		}
		p.write("migrate/sessionsql.sql", readFile(p.T, bundle))
		p.run("ruby", "migrate.rb", "up")
	},
	down: func(p *project) { p.run("ruby", "migrate.rb", "down") },
}
