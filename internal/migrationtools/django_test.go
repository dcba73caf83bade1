package migrationtools_test

import "fmt"

var django = tool{
	name: "Django", section: "Django", packages: "python3-django python3-psycopg2", files: "django",
	probe: "/usr/bin/python3 -c 'import django, psycopg2; print(django.__version__)'",
	up: func(p *project, steps []step) {
		for _, s := range steps {
			text := p.block()
			if s.own != "" {
				text = fmt.Sprintf("from django.db import migrations\n\n"+
					"class Migration(migrations.Migration):\n"+
					"    operations = [migrations.RunSQL(%q)]\n", s.own)
			}
			if s.number > 1 {
				text += fmt.Sprintf("    dependencies = [('app', '%04d')]\n", s.number-1)
			}
			p.write(fmt.Sprintf("app/migrations/%04d.py", s.number), text)
		}
		p.write("app/migrations/sessionsql.sql", readFile(p.T, bundle))
		p.django()
	},
	down: func(p *project) { p.django("app", "0001") },
}

func (p *project) django(target ...string) {
	p.Helper()
	p.run("/usr/bin/python3", append([]string{
		"-m", "django", "migrate", "--pythonpath=.", "--settings=settings",
	}, target...)...)
}
