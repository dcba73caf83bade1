package migrationtools_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
)

const document = root + "/docs/migrations.md"

// A section of the document has one block. The comment above it keeps the test in docs from running it.
var section = regexp.MustCompile(
	"(?m)^## (.+)\n<!-- run by TestToolsInstallTheBundle -->\n```\\w+\n((?s:.*?))```\n")

// block returns the block of code below a heading of the document.
func block(t *testing.T, heading string) string {
	t.Helper()
	for _, match := range section.FindAllStringSubmatch(readFile(t, document), -1) {
		if match[1] == heading {
			return match[2]
		}
	}
	t.Fatalf("%s has no block below %q", document, heading)
	return ""
}

func TestEveryBlockOfTheDocumentIsRun(t *testing.T) {
	text := readFile(t, document)
	run := map[string]bool{}
	for _, each := range tools {
		run[each.section] = true
	}
	blocks := section.FindAllStringSubmatch(text, -1)
	for _, match := range blocks {
		if !run[match[1]] {
			t.Errorf("no tool runs the block below %q", match[1])
		}
	}
	if fences := strings.Count(text, "\n```"); fences != 2*len(blocks) {
		t.Errorf("there are %d fences for %d sections with a block", fences, len(blocks))
	}
}

// The versions of Go modules and npm packages are pinned. Those of Debian are compared on Debian 12 alone.
func TestTheDocumentNamesTheTestedVersions(t *testing.T) {
	text, pinned := readFile(t, document), pinnedVersions(t)
	for _, each := range tools {
		t.Run(each.name, func(t *testing.T) {
			pattern := regexp.MustCompile(`(?m)^\| \[` + each.name + `\]\(.*\) \| (.+) \| .+ \|$`)
			row := pattern.FindStringSubmatch(text)
			if row == nil {
				t.Fatal("the table of tools lacks it")
			}
			want := pinned[strings.ToLower(each.name)]
			if strings.HasSuffix(row[0], "| Debian 12 |") && onDebian12() {
				want = regexp.MustCompile(`\d+\.\d+`).FindString(each.require(t))
			}
			if !strings.Contains(row[1], want) {
				t.Errorf("version %s is tested, and the document says %s", want, row[1])
			}
		})
	}
}

// pinnedVersions returns the versions that go.mod and package.json name.
func pinnedVersions(t *testing.T) map[string]string {
	t.Helper()
	pinned := map[string]string{}
	required := regexp.MustCompile(`(?m)^\t\S+?/([\w-]+)(?:/v\d+)? v([\d.]+)$`)
	for _, match := range required.FindAllStringSubmatch(readFile(t, "go.mod"), -1) {
		pinned[match[1]] = match[2]
	}
	pinned["golang-migrate"] = pinned["migrate"]
	var packages struct{ Dependencies map[string]string }
	must(t, json.Unmarshal([]byte(readFile(t, npmFiles, "package.json")), &packages))
	maps.Copy(pinned, packages.Dependencies)
	for _, name := range []string{
		"golang-migrate", "goose", "sql-migrate", "dbmate", "node-pg-migrate", "liquibase",
	} {
		if pinned[name] == "" {
			t.Fatalf("neither go.mod nor package.json names %s", name)
		}
	}
	return pinned
}

func onDebian12() bool {
	release, err := os.ReadFile("/etc/os-release")
	return err == nil && strings.Contains(string(release), "PRETTY_NAME=\"Debian GNU/Linux 12 ")
}
