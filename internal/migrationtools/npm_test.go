package migrationtools_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	npmFiles = "testdata/npm"
	npmProbe = "node --version && npm --version"
)

// npmFolder is the folder in which npm installs the tools' packages, once. TestMain makes and removes it.
var npmFolder string

var npmInstall = sync.OnceValue(func() error {
	if err := os.CopyFS(npmFolder, os.DirFS(npmFiles)); err != nil {
		return err
	}
	command := exec.Command("npm", "ci", "--prefer-offline")
	command.Dir = npmFolder
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", command.Args, err, output)
	}
	return nil
})

// npm returns the folder of the installed packages.
func npm(t *testing.T) string {
	t.Helper()
	must(t, npmInstall())
	return filepath.Join(npmFolder, "node_modules")
}

// npmPath begins with the Node that npm has installed, because node-pg-migrate is too new for that of Debian
// 12. npm installs none on other systems than Linux.
func npmPath() string {
	folders, _ := filepath.Glob(filepath.Join(npmFolder, "node_modules/node-linux-*/bin"))
	return strings.Join(append(folders, os.Getenv("PATH")), ":")
}

var nodePgMigrate = tool{
	name: "node-pg-migrate", section: "node-pg-migrate", packages: "nodejs npm", probe: npmProbe,
	up: func(p *project, steps []step) {
		for _, s := range steps {
			text := p.block()
			if s.own != "" {
				text = fmt.Sprintf("export const up = (pgm) => pgm.sql(%q);\n", s.own)
			}
			p.write(fmt.Sprintf("migrations/%d_step.mjs", s.number), text)
		}
		p.run(npm(p.T)+"/.bin/node-pg-migrate", "up")
	},
	down: func(p *project) { p.run(npm(p.T)+"/.bin/node-pg-migrate", "down") },
}
