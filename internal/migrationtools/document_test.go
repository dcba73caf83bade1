package migrationtools_test

import (
	"encoding/json"
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
		if !strings.Contains(text, "| ["+each.name+"](#") {
			t.Errorf("the table of tools lacks %s", each.name)
		}
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

func TestTheDocumentNamesThePinnedVersions(t *testing.T) {
	pinned := map[string]string{}
	required := regexp.MustCompile(`(?m)^\t\S+?/([\w-]+)(?:/v\d+)? v([\d.]+)$`)
	for _, match := range required.FindAllStringSubmatch(readFile(t, "go.mod"), -1) {
		pinned[match[1]] = match[2]
	}
	var packages struct{ Dependencies map[string]string }
	must(t, json.Unmarshal([]byte(readFile(t, npmFiles, "package.json")), &packages))
	for name, version := range packages.Dependencies {
		pinned[name] = version
	}
	text := strings.ToLower(readFile(t, document))
	for name, in := range map[string]string{
		"migrate": "golang-migrate", "goose": "goose", "sql-migrate": "sql-migrate", "dbmate": "dbmate",
		"node-pg-migrate": "node-pg-migrate", "liquibase": "liquibase",
	} {
		row := regexp.MustCompile(`\| \[` + in + `\]\(\S+\) \| ` + regexp.QuoteMeta(pinned[name]) + `\b`)
		if pinned[name] == "" || !row.MatchString(text) {
			t.Errorf("%s is tested in version %q, and the table of tools says otherwise", in, pinned[name])
		}
	}
}
