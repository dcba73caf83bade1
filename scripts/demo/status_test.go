package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStatusInBrowser opens /status in headless Chromium before and after the crash. It writes what the browser shows
// in the end to the file that SESSIONSQL_SCREENSHOT names. This makes docs/status.png:
//
//	SESSIONSQL_SCREENSHOT=$PWD/docs/status.png go test -count=1 -run StatusInBrowser ./scripts/demo
func TestStatusInBrowser(t *testing.T) {
	b := newChromium(t)
	b.dump("about:blank") // what it reads from disk must not take the time before the crash

	said, stderr := io.Pipe()
	var stdout bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		status := run(t.Context(), []string{"--duration", "24s", "--users", "1000"}, &stdout, stderr)
		_ = stderr.Close()
		ended <- status
	}()
	lines := bufio.NewScanner(said)
	address := b.await(lines, "open ")
	drawnAt(t, b.dump(address), "primary")

	b.await(lines, "is promoted")
	go func() { _, _ = io.Copy(io.Discard, said) }()
	page := b.dump(address)
	for deadline := time.Now().Add(5 * time.Second); !strings.HasPrefix(element(page, "primary"), "replica"); {
		if time.Now().After(deadline) {
			t.Fatal("the page does not show the promoted server as the primary")
		}
		page = b.dump(address)
	}
	drawnAt(t, page, "replica")
	for _, part := range []string{`id="outage"`, "<span>killed</span>"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not show the crash: %s is missing", part)
		}
	}
	if path := os.Getenv("SESSIONSQL_SCREENSHOT"); path != "" {
		rest(t.Context(), 4*time.Second) // so that the crash does not lie at the edge
		b.screenshot(address, path)
	}
	if status := <-ended; status != exitOK {
		t.Errorf("the demo's exit status: %d\n%s", status, &stdout)
	}
}

// drawnAt checks that a page holds numbers and drawings, and which server it shows as the primary.
func drawnAt(t *testing.T, page, primary string) {
	t.Helper()
	for _, id := range []string{
		"rate", "requests", "errors", "wrong", "pending", "extended", "dropped", "flush-errors", "page",
		"pages", "last-pages", "last-reaped", "reaped", "drawn",
	} {
		text := element(page, id)
		if n, err := strconv.Atoi(strings.ReplaceAll(text, ",", "")); err != nil || n < 0 {
			t.Errorf("%s: %q is no number", id, text)
		}
	}
	for _, id := range []string{"requests", "pages"} {
		if element(page, id) == "0" {
			t.Errorf("%s: 0", id)
		}
	}
	if drawn, _ := strconv.Atoi(element(page, "drawn")); drawn < 2 {
		t.Errorf("drawn %d times, want again after a second", drawn)
	}
	if name := element(page, "primary"); !strings.HasPrefix(name, primary) {
		t.Errorf("the primary is %q, want %s", name, primary)
	}
	for _, drawing := range []string{`<polyline class="requests"`, `class="hand"`, "replica, read from"} {
		if !strings.Contains(page, drawing) {
			t.Errorf("%s is not drawn", drawing)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

// chromium is the browser, with a profile of its own.
type chromium struct {
	t       *testing.T
	program string
	profile string
}

// newChromium finds the browser. Where SESSIONSQL_REQUIRE_PACKAGES is set, the test fails without one.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	switch {
	case err == nil:
	case os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "":
		t.Fatal(err)
	default:
		t.Skip("chromium is missing: the status page is not looked at in a browser")
	}
	profile, err := os.MkdirTemp("", "sessionsql-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its helpers may write for a moment after it has ended.
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
		"--user-data-dir=" + b.profile, "--window-size=1280,800", "--hide-scrollbars",
		"--virtual-time-budget=2500", // which the page's clock passes at once
	}, args...)
	command := exec.CommandContext(ctx, b.program, args...)
	command.Env = append(os.Environ(), "HOME="+b.profile)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its helpers end with it
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

// dump returns a page as its scripts have made it.
func (b *chromium) dump(address string) string { return b.run("--dump-dom", address) }

func (b *chromium) screenshot(address, path string) {
	b.run("--screenshot="+filepath.Clean(path), address)
}

// await reads the demo's lines until one has a text, and returns the address that stands in it.
func (b *chromium) await(lines *bufio.Scanner, text string) (address string) {
	b.t.Helper()
	for lines.Scan() {
		b.t.Log(lines.Text())
		if !strings.Contains(lines.Text(), text) {
			continue
		}
		for word := range strings.FieldsSeq(lines.Text()) {
			if strings.HasPrefix(word, "http://") {
				address = word
			}
		}
		return address
	}
	b.t.Fatalf("the demo never said %q", text)
	return ""
}
