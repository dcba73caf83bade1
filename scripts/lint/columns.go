package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxColumns = 110
	tabColumns = 4 // gofmt indents with tabs; each counts as this many columns
)

// generated matches the line by which a generator marks a Go file (https://go.dev/s/generatedcode).
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// checkColumns prints a line for each line of Go or SQL that is longer than maxColumns, and returns their
// number. It exempts generated Go and testdata, which holds files of earlier releases, and nothing else.
func checkColumns(ctx context.Context, out io.Writer) (findings int, err error) {
	list := exec.CommandContext(ctx, "git", "ls-files", "-z", "-co", "--exclude-standard", "*.go", "*.sql")
	names, err := list.Output()
	if err != nil {
		return 0, fmt.Errorf("git ls-files: %w", err)
	}
	files := 0
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // git lists a deleted file until the deletion is committed
		}
		if err != nil {
			return findings, err
		}
		files++
		for _, finding := range longLines(name, text) {
			findings++
			fmt.Fprintln(out, finding)
		}
	}
	if files == 0 {
		return findings, errors.New("found no file of Go or SQL: run lint in the repository")
	}
	fmt.Fprintf(out, "lint: %d files, %d lines longer than %d columns\n", files, findings, maxColumns)
	return findings, nil
}

// longLines returns a finding for each line of a file that is too long.
func longLines(name string, text []byte) (findings []string) {
	folders := strings.Split(path.Dir(name), "/")
	if slices.Contains(folders, "testdata") || path.Ext(name) == ".go" && generated.Match(text) {
		return nil
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimRight(line, "\r\n")
		columns := utf8.RuneCount(line) + (tabColumns-1)*bytes.Count(line, []byte{'\t'})
		if columns > maxColumns {
			findings = append(findings, fmt.Sprintf("%s:%d: %d columns", name, number, columns))
		}
	}
	return findings
}
