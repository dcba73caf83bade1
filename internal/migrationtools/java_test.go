package migrationtools_test

import (
	"fmt"
	"path/filepath"
	"strings"
)

const driver = "/usr/share/java/postgresql.jar"

var jdbc = tool{
	name: "JDBC", section: "JDBC", files: "jdbc", packages: "default-jdk-headless libpostgresql-jdbc-java",
	probe: "java -cp " + driver + " org.postgresql.util.PGJDBCMain | grep Driver && javac -version",
	up: func(p *project, steps []step) {
		program := readFile(p.T, "testdata/jdbc/Migrate.java")
		p.write("Migrate.java", strings.Replace(program, "BLOCK", p.block(), 1))
		var statements []string
		for _, s := range steps {
			if s.own == "" {
				s.own = "install"
			}
			statements = append(statements, s.own)
		}
		p.java(driver, "Migrate.java", statements...)
	},
	down: func(p *project) { p.java(driver, "Migrate.java", readFile(p.T, uninstall)) },
}

var liquibase = tool{
	name: "Liquibase", section: "Liquibase", packages: "npm default-jdk-headless",
	probe: npmProbe + " && java -version",
	up: func(p *project, steps []step) {
		for _, s := range steps {
			text := p.block()
			if s.own != "" {
				text = `<changeSet id="sessionsql" author="you"><sql>` + s.own + "</sql></changeSet>\n"
			}
			text = strings.Replace(text, `id="sessionsql"`, fmt.Sprintf(`id="%d"`, s.number), 1)
			p.write(fmt.Sprintf("%d.xml", s.number), changeLog(text))
		}
		var all strings.Builder
		for number := range p.last {
			fmt.Fprintf(&all, "<include file=\"%d.xml\" relativeToChangelogFile=\"true\"/>\n", number+1)
		}
		p.write("all.xml", changeLog(all.String()))
		p.liquibase("update")
	},
	down: func(p *project) { p.liquibase("rollback-count", "--count=1") },
}

func changeLog(changes string) string {
	return `<databaseChangeLog xmlns="http://www.liquibase.org/xml/ns/dbchangelog"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:schemaLocation="http://www.liquibase.org/xml/ns/dbchangelog
        http://www.liquibase.org/xml/ns/dbchangelog/dbchangelog-latest.xsd">
` + changes + `</databaseChangeLog>
`
}

// liquibase leaves the drivers of other databases out of Liquibase, because they take long to load.
func (p *project) liquibase(command ...string) {
	p.Helper()
	var path []string
	for _, jar := range []string{
		"liquibase-core", "commons-collections4", "commons-io", "commons-lang3", "commons-text", "opencsv",
		"picocli", "snakeyaml", "postgresql",
	} {
		path = append(path, filepath.Join(npm(p.T), "liquibase/dist/liquibase/internal/lib", jar+".jar"))
	}
	p.java(strings.Join(path, ":"), "liquibase.integration.commandline.LiquibaseCommandLine",
		append([]string{"--changelog-file=all.xml", "--url=" + p.jdbcURL()}, command...)...)
}

// java runs a program. Its options make the virtual machine start fast.
func (p *project) java(path, program string, arguments ...string) {
	p.Helper()
	options := []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", path, program}
	p.run("java", append(options, arguments...)...)
}
