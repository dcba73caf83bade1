package pgcluster

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

//go:embed watchdog.sh
var watchdogScript string

// longestFolder leaves room for "/.s.PGSQL.65535" in the shortest socket address of any system, 104 bytes.
const longestFolder = 80

// watchdog is a shell that makes the folder of a cluster and waits for the end of its standard input. Only
// this process holds the other end of that pipe, so the input ends when the process closes it or dies. The
// shell then ends every server of the cluster and removes the folder. Close uses the watchdog too, so every
// Close tests the way that cleans up after a kill.
type watchdog struct {
	folder   string
	command  *exec.Cmd
	lifeline *os.File        // the other end of the shell's standard input
	stderr   strings.Builder // of the shell
}

// startWatchdog makes the folder in TMPDIR, or in /tmp if that fails. The user that runs the servers may have
// no access to TMPDIR, or its name may be too long for a socket.
func startWatchdog(ctx context.Context, binDir string, account *syscall.Credential) (*watchdog, error) {
	w, err := startWatchdogIn(ctx, os.TempDir(), binDir, account)
	if err != nil && filepath.Clean(os.TempDir()) != "/tmp" {
		return startWatchdogIn(ctx, "/tmp", binDir, account)
	}
	return w, err
}

func startWatchdogIn(
	ctx context.Context, parent, binDir string, account *syscall.Credential,
) (*watchdog, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, fmt.Errorf("pgcluster: temporary folder: %w", err)
	}
	folder := filepath.Join(parent, "sessionsql-"+strconv.FormatUint(rand.Uint64(), 36))
	if len(folder) > longestFolder {
		return nil, fmt.Errorf("pgcluster: temporary folder %s: too long for the address of a socket", folder)
	}

	// Both ends are close-on-exec, so no server inherits the lifeline. A child that is being started when
	// this process dies keeps it until its program runs, so the shell does not miss that server.
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pgcluster: watchdog: %w", err)
	}
	defer stdin.Close()
	w := &watchdog{folder: folder, lifeline: lifeline}
	// The environment carries the script, so that ps does not print it.
	w.command = exec.Command("/bin/sh", "-c", `eval "$PGCLUSTER_WATCHDOG"`,
		"pgcluster-watchdog", folder, binDir)
	w.command.Env = append(os.Environ(), "PGCLUSTER_WATCHDOG="+watchdogScript)
	w.command.Dir = "/"
	w.command.Stdin = stdin
	w.command.Stderr = &w.stderr
	w.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: account}
	stdout, err := w.command.StdoutPipe()
	if err == nil {
		err = w.command.Start()
	}
	if err != nil {
		lifeline.Close()
		return nil, fmt.Errorf("pgcluster: watchdog: %w", err)
	}
	stopWaiting := context.AfterFunc(ctx, func() { stdout.Close() })
	defer stopWaiting()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("pgcluster: no temporary folder in %s", parent), w.release())
	}
	return w, nil
}

// release makes the watchdog end the cluster, and waits for it.
func (w *watchdog) release() error {
	w.lifeline.Close()
	if err := w.command.Wait(); err != nil {
		return fmt.Errorf("pgcluster: cleaning up: %w: %s", err, strings.TrimSpace(w.stderr.String()))
	}
	return nil
}
