// Package docs checks the documents of this module: the README, this folder and the files about contributing.
// Their code runs, their links lead somewhere, the tests that they name exist, their figures are those of the
// benchmark's report, the messages that they explain are in the source, and their pictures look the same with
// any font.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/testkit"
)

const root = ".."

// A document is one Markdown file.
type document struct {
	path   string // below the root
	text   string
	blocks []block
}

// A block is the code between two fences.
type block struct {
	tag    string // the word after the fence, which says how the block is run
	runner string // the test that runs it in another package, as the comment before the block says
	text   string
	line   int // of its first line in the document
}

// documents reads all Markdown files that a user is led to.
func documents(t *testing.T) (all []document) {
	t.Helper()
	patterns := []string{
		"*.md", "docs/*.md", ".github/*.md", "examples/*.md", "examples/*/*.md", "adapters/*/*.md",
	}
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		testkit.Must(t, err)
		for _, path := range paths {
			all = append(all, read(t, strings.TrimPrefix(path, root+"/")))
		}
	}
	if len(all) < 8 {
		t.Fatalf("only %d documents were found", len(all))
	}
	return all
}

func read(t *testing.T, path string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	testkit.Must(t, err)
	d := document{path: path, text: string(text)}
	d.blocks, err = blocksOf(d.text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return d
}

var (
	fence     = regexp.MustCompile("^( *)```([^`]*)$")
	elsewhere = regexp.MustCompile(`^ *<!-- run by (Test\w+) -->$`)
)

// blocksOf takes a document's code out of it. Code that is indented and not fenced has no tag, so it is an
// error.
func blocksOf(text string) (blocks []block, err error) {
	var open *block
	indent, before := "", ""
	for i, line := range strings.Split(text, "\n") {
		found := fence.FindStringSubmatch(line)
		switch {
		case open == nil && found != nil:
			indent = found[1]
			open = &block{tag: strings.TrimSpace(found[2]), line: i + 2}
			if named := elsewhere.FindStringSubmatch(before); named != nil {
				open.runner = named[1]
			}
		case open != nil && found != nil && strings.TrimSpace(found[2]) == "":
			blocks = append(blocks, *open)
			open = nil
		case open == nil && strings.HasPrefix(strings.TrimSpace(line), "~~~"):
			return nil, fmt.Errorf("line %d: a fence of tildes, which no rule here knows", i+1)
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case before == "" && (strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t")):
			return nil, fmt.Errorf("line %d: a code block without fences", i+1)
		}
		before = line
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: a fence that is not closed", open.line-1)
	}
	return blocks, nil
}

// prose is a document without its code blocks.
func (d document) prose() string {
	var kept []string
	inside := false
	for line := range strings.SplitSeq(d.text, "\n") {
		if fence.MatchString(line) {
			inside = !inside
		} else if !inside {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func TestTheReadmeFitsOnAPage(t *testing.T) {
	if lines := strings.Count(read(t, "README.md").text, "\n"); lines > 70 {
		t.Errorf("README.md has %d lines, more than 70", lines)
	}
}

var (
	link     = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	anchorID = regexp.MustCompile(`<a id="([^"]+)">`)
)

// anchors are the names that a link may lead to, as GitHub makes them of headings.
func (d document) anchors() (names []string) {
	text := d.prose()
	for _, found := range heading.FindAllStringSubmatch(text, -1) {
		title := regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(found[1], "]")
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(title), "")
		name = strings.ReplaceAll(name, " ", "-")
		again := 0
		for unique := name; ; unique = fmt.Sprintf("%s-%d", name, again) {
			if !slices.Contains(names, unique) {
				names = append(names, unique)
				break
			}
			again++
		}
	}
	for _, found := range anchorID.FindAllStringSubmatch(text, -1) {
		names = append(names, found[1])
	}
	return names
}

// ownPages is where files of this repository stand in full addresses.
const ownPages = "https://github.com/sessionsql/postgres/blob/main/"

func TestLinksLeadSomewhere(t *testing.T) {
	checked := 0
	for _, d := range documents(t) {
		for _, found := range link.FindAllStringSubmatch(d.prose(), -1) {
			checked++
			if err := d.follow(found[1]); err != nil {
				t.Errorf("%s: %s: %v", d.path, found[1], err)
			}
		}
	}
	t.Logf("%d links", checked)
	if checked < 60 {
		t.Error("so few were found that the search must be wrong")
	}
}

// follow says what is wrong with a link. Links to other sites are not followed.
func (d document) follow(target string) error {
	path, anchor, _ := strings.Cut(target, "#")
	switch {
	case strings.HasPrefix(path, ownPages):
		path = strings.TrimPrefix(path, ownPages)
	case strings.Contains(path, "://"):
		return nil
	case path == "":
		path = d.path
	default:
		path = filepath.Join(filepath.Dir(d.path), path)
	}
	text, err := os.ReadFile(filepath.Join(root, path))
	if info, statErr := os.Stat(filepath.Join(root, path)); statErr == nil && info.IsDir() {
		err = nil
	}
	if err != nil || anchor == "" {
		return err
	}
	if names := (document{text: string(text)}).anchors(); !slices.Contains(names, anchor) {
		return fmt.Errorf("no such anchor; there are %q", names)
	}
	return nil
}

var (
	namedTest   = regexp.MustCompile(`\b(Test|Fuzz|Example)[A-Z_][A-Za-z0-9_]+\b`)
	definedTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w+)\(`)
)

func TestNamedTestsExist(t *testing.T) {
	defined := map[string]bool{}
	testkit.Must(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range definedTest.FindAllStringSubmatch(string(text), -1) {
			defined[found[1]] = true
		}
		return err
	}))
	named := 0
	for _, d := range documents(t) {
		for _, name := range namedTest.FindAllString(d.text, -1) {
			named++
			if !defined[name] {
				t.Errorf("%s names %s, which does not exist", d.path, name)
			}
		}
	}
	t.Logf("%d names of %d tests", named, len(defined))
	if named < 40 {
		t.Error("so few were found that the search must be wrong")
	}
}

// messageCell is the first cell of a row, or the second after a log level.
var messageCell = regexp.MustCompile(`(?m)^\| (?:WARN \| |INFO \| )?([^|]*)\|`)

// TestQuotedMessagesAreInTheSource looks for the messages that docs/operations.md explains. What stands for a
// value in them, "..." or a number, may be anything.
func TestQuotedMessagesAreInTheSource(t *testing.T) {
	var source strings.Builder
	for _, pattern := range []string{"sessionsql/*.go", "sql/*.sql", "sql/*/*.sql"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		testkit.Must(t, err)
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			testkit.Must(t, err)
			source.Write(text)
		}
	}
	joined := regexp.MustCompile("[\"`] \\+\\s*[\"`]").ReplaceAllString(source.String(), "") // over two lines
	text := read(t, "docs/operations.md").text
	checked := 0
	for _, title := range []string{"Why a replica is left out", "Log lines", "The log or an error says"} {
		_, section, found := strings.Cut(text, "\n### "+title+"\n")
		if !found {
			t.Errorf("no section %q", title)
		}
		section, _, _ = strings.Cut(section, "\n#")
		for _, quoted := range messageCell.FindAllStringSubmatch(section, -1) {
			for _, message := range regexp.MustCompile("`(.+?)`").FindAllStringSubmatch(quoted[1], -1) {
				for _, part := range splitMessage(message[1]) {
					checked++
					if !strings.Contains(joined, part) && !slices.Contains(foreign, part) {
						t.Errorf("%s: no source has %q of %q", title, part, message[1])
					}
				}
			}
		}
	}
	t.Logf("%d parts of messages", checked)
	if checked < 40 {
		t.Error("so few were found that the search must be wrong")
	}
}

// foreign are parts of messages of PostgreSQL and of the driver, and of ours that the source composes.
var foreign = []string{
	"canceling statement due to lock timeout", "failed to connect", "failed to connect to",
	"permission denied", "read only",
	"the database is too old", "the program is too old", "bytes is too large",
}

// splitMessage returns the parts of a message that stand in the source as they are.
func splitMessage(message string) (parts []string) {
	for _, part := range regexp.MustCompile(`\.\.\.|\(SQLSTATE.*|: |\d+`).Split(message, -1) {
		if part = strings.Trim(part, " ,="); len(part) > 5 {
			parts = append(parts, part)
		}
	}
	return parts
}

// Files that the documents name in code, such as `sql/install.sql`, exist.
func TestNamedFilesExist(t *testing.T) {
	folders := `sql|sessionsql|db|docs|internal|scripts|adapters|examples|\.ci|\.github`
	named := regexp.MustCompile("`(?:\\./)?((?:" + folders + ")/[A-Za-z0-9_./-]+)`")
	checked := 0
	for _, d := range documents(t) {
		if d.path == "CHANGELOG.md" {
			continue // it may name what is gone
		}
		for _, found := range named.FindAllStringSubmatch(d.prose(), -1) {
			if strings.Contains(found[1], "NAME") {
				continue // stands for a name
			}
			checked++
			if _, err := os.Stat(filepath.Join(root, found[1])); err != nil {
				t.Errorf("%s: %v", d.path, err)
			}
		}
	}
	t.Logf("%d names", checked)
	if checked < 20 {
		t.Error("so few were found that the search must be wrong")
	}
}
