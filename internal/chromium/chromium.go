// Package chromium opens pages in headless Chromium, for tests.
package chromium

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A Browser is the program with a profile of its own, which is removed when its test ends.
type Browser struct {
	t       testing.TB
	program string
	profile string
}

// New finds the browser. Without one the test fails where SESSIONSQL_REQUIRE_PACKAGES is set, and is skipped
// elsewhere; scripts/test.sh then says so.
func New(t testing.TB) *Browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	switch {
	case err == nil:
	case os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "":
		t.Fatal(err)
	default:
		t.Skip("chromium is missing: no page is looked at in a browser")
	}
	profile, err := os.MkdirTemp("", "sessionsql-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The browser's helpers may write for a moment after it has ended.
		deadline := time.Now().Add(10 * time.Second)
		for err := os.RemoveAll(profile); err != nil; err = os.RemoveAll(profile) {
			if time.Now().After(deadline) {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	return &Browser{t, program, profile}
}

// Run starts the browser with further arguments and returns what it prints. The test fails when the browser
// fails or takes longer than a minute.
func (b *Browser) Run(args ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
		"--user-data-dir=" + b.profile, "--window-size=1280,690", "--hide-scrollbars",
		"--virtual-time-budget=2500", // the page's clock passes it at once
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

// Dump returns a page as its scripts have made it.
func (b *Browser) Dump(address string, args ...string) string {
	b.t.Helper()
	return b.Run(append(args, "--dump-dom", address)...)
}
