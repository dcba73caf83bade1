package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/testkit"
)

// This test opens /status in headless Chromium before and after the crash. It writes the last picture to the
// file that SESSIONSQL_SCREENSHOT names. This command makes docs/status.png:
//
//	SESSIONSQL_SCREENSHOT=$PWD/docs/status.png go test -count=1 -run InABrowser ./scripts/demo
func TestStatusPageShowsTheCrashInABrowser(t *testing.T) {
	b := newChromium(t)
	b.dump("about:blank") // the first start reads from disk, which must not take the time before the crash

	screenshot, users := os.Getenv("SESSIONSQL_SCREENSHOT"), "200"
	if screenshot != "" {
		users = "2000"
	}
	d := startDemo(t, "--duration", "24s", "--users", users)
	address := d.await("open ")
	b.drawn(address, "primary")
	d.await("is promoted")
	page := b.drawn(address, "replica")
	for _, part := range []string{`id="outage"`, "<span>killed</span>"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not show the crash: %s is missing", part)
		}
	}
	if screenshot != "" {
		rest(t.Context(), 4*time.Second) // so that the crash does not lie at the edge
		b.screenshot(address, screenshot)
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

// drawn opens the page until it shows a server of this name as the primary, and checks its numbers and
// drawings.
func (b *chromium) drawn(address, primary string) (page string) {
	b.t.Helper()
	deadline := time.Now().Add(8 * time.Second)
	for page = b.dump(address); !strings.HasPrefix(element(page, "primary"),
		primary); page = b.dump(address) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page does not show a %s as the primary\n%s", primary, page)
		}
	}
	for _, id := range []string{
		"rate", "requests", "errors", "wrong", "pending", "extended", "dropped", "flush-errors", "page",
		"pages", "last-pages", "last-reaped", "reaped", "drawn",
	} {
		text := element(page, id)
		if n, err := strconv.Atoi(strings.ReplaceAll(text, ",", "")); err != nil || n < 0 {
			b.t.Errorf("%s: %q is not a number", id, text)
		}
	}
	for _, id := range []string{"requests", "pages"} {
		if element(page, id) == "0" {
			b.t.Errorf("%s is 0", id)
		}
	}
	if drawn, _ := strconv.Atoi(element(page, "drawn")); drawn < 2 {
		b.t.Errorf("the page was drawn %d times, want a second drawing", drawn)
	}
	for _, drawing := range []string{
		`<polyline class="requests"`, `class="hand"`, "<span>primary</span>", "<span>replica, ",
	} {
		if !strings.Contains(page, drawing) {
			b.t.Errorf("%s is not drawn", drawing)
		}
	}
	if b.t.Failed() {
		b.t.Log(page)
	}
	return page
}

// A chromium is the browser with its own profile.
type chromium struct {
	t       *testing.T
	program string
	profile string
}

// newChromium finds the browser. Without one it skips the test, or fails it under
// SESSIONSQL_REQUIRE_PACKAGES.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	switch {
	case err == nil:
	case os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "":
		t.Fatal(err)
	default:
		t.Skip("chromium is missing, so no browser opens the status page")
	}
	profile, err := os.MkdirTemp("", "sessionsql-chromium-")
	testkit.Must(t, err)
	t.Cleanup(func() {
		// Its helper processes may write for a moment after it has ended.
		deadline := time.Now().Add(10 * time.Second)
		for err := os.RemoveAll(profile); err != nil; err = os.RemoveAll(profile) {
			if time.Now().After(deadline) {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	return &chromium{t, program, profile}
}

func (b *chromium) run(args ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
		"--user-data-dir=" + b.profile, "--window-size=1280,690", "--hide-scrollbars",
		"--virtual-time-budget=2500", // the page's clock passes this time at once
	}, args...)
	command := exec.CommandContext(ctx, b.program, args...)
	command.Env = append(os.Environ(), "HOME="+b.profile)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its helper processes end with it
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		b.t.Fatalf("chromium: %v\n%s", err, &stderr)
	}
	return string(out)
}

// dump returns a page after its scripts have run.
func (b *chromium) dump(address string) string { return b.run("--dump-dom", address) }

func (b *chromium) screenshot(address, path string) {
	b.t.Helper()
	b.run("--screenshot="+path, address)
	if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) > time.Minute {
		b.t.Errorf("chromium has not written %s", path)
	}
}
