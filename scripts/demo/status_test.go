package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/chromium"
)

// This test opens /status in headless Chromium before and after the crash. It writes the last picture to the
// file that SESSIONSQL_SCREENSHOT names. This command makes docs/status.png:
//
//	SESSIONSQL_SCREENSHOT=$PWD/docs/status.png go test -count=1 -run InABrowser ./scripts/demo
func TestStatusPageShowsTheCrashInABrowser(t *testing.T) {
	b := chromium.New(t)
	b.Dump("about:blank") // the first start reads from disk, which must not take the time before the crash

	screenshot, users := os.Getenv("SESSIONSQL_SCREENSHOT"), "200"
	if screenshot != "" {
		users = "2000"
	}
	d := startDemo(t, "--duration", "24s", "--users", users)
	address := d.await("open ")
	drawn(t, b, address, "primary")
	d.await("is promoted")
	page := drawn(t, b, address, "replica")
	for _, part := range []string{`id="outage"`, "<span>killed</span>"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not show the crash: %s is missing", part)
		}
	}
	if screenshot != "" {
		rest(t.Context(), 4*time.Second) // so that the crash does not lie at the edge
		saveScreenshot(t, b, address, screenshot)
	}
}

// A runningDemo is a demo that a test watches.
type runningDemo struct {
	t     *testing.T
	said  chan string // its lines on stderr
	ended sync.WaitGroup
}

// startDemo starts a demo that ends with the test. Other tests check its findings.
func startDemo(t *testing.T, args ...string) *runningDemo {
	d := &runningDemo{t: t, said: make(chan string, 1000)}
	read, stderr := io.Pipe()
	d.ended.Go(func() {
		var stdout bytes.Buffer
		run(t.Context(), args, &stdout, stderr)
		_ = stderr.Close()
		t.Log(&stdout)
	})
	d.ended.Go(func() {
		defer close(d.said)
		for lines := bufio.NewScanner(read); lines.Scan(); {
			t.Log(lines.Text())
			d.said <- lines.Text()
		}
	})
	t.Cleanup(d.ended.Wait)
	return d
}

// await reads the demo's lines until one contains a text, and returns the address in that line.
func (d *runningDemo) await(text string) (address string) {
	d.t.Helper()
	for line := range d.said {
		if !strings.Contains(line, text) {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if strings.HasPrefix(word, "http://") {
				address = word
			}
		}
		return address
	}
	d.t.Fatalf("the demo never said %q", text)
	return ""
}

// drawn opens the page until it shows a server of this name as the primary, and its numbers and drawings: the
// demo looks at its servers once a second, so the first pages may be older than the first session.
func drawn(t *testing.T, b *chromium.Browser, address, primary string) (page string) {
	t.Helper()
	deadline := time.Now().Add(8 * time.Second)
	for {
		page = b.Dump(address)
		missing := missing(page, primary)
		if len(missing) == 0 {
			return page
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page is not as it should be: %s\n%s", strings.Join(missing, "; "), page)
		}
	}
}

// missing says what a page lacks that shows a server of this name as the primary.
func missing(page, primary string) (missing []string) {
	if name := element(page, "primary"); !strings.HasPrefix(name, primary) {
		missing = append(missing, fmt.Sprintf("the primary is %q, want a %s", name, primary))
	}
	for _, id := range []string{
		"rate", "requests", "errors", "wrong", "pending", "extended", "dropped", "flush-errors", "page",
		"pages", "last-pages", "last-reaped", "reaped", "drawn",
	} {
		text := element(page, id)
		if n, err := strconv.Atoi(strings.ReplaceAll(text, ",", "")); err != nil || n < 0 {
			missing = append(missing, fmt.Sprintf("%s: %q is not a number", id, text))
		}
	}
	for _, id := range []string{"requests", "pages"} {
		if element(page, id) == "0" {
			missing = append(missing, id+" is 0")
		}
	}
	if drawn, _ := strconv.Atoi(element(page, "drawn")); drawn < 2 {
		missing = append(missing, fmt.Sprintf("it was drawn %d times, want a second drawing", drawn))
	}
	for _, drawing := range []string{
		`<polyline class="requests"`, `class="hand"`, "<span>primary</span>", "<span>replica, ",
	} {
		if !strings.Contains(page, drawing) {
			missing = append(missing, drawing+" is not drawn")
		}
	}
	return missing
}

func saveScreenshot(t *testing.T, b *chromium.Browser, address, path string) {
	t.Helper()
	b.Run("--screenshot="+path, address)
	if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) > time.Minute {
		t.Errorf("chromium has not written %s", path)
	}
}
