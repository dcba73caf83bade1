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

// longestFolder leaves room for "/.s.PGSQL.65535" within the 104 bytes that the shortest socket address takes.
const longestFolder = 80

// watchdog is a shell of its own session which makes the folder of a cluster and waits for the end of its standard input.
// Only this process holds the other end, so that comes when the process closes it or is gone, however it went: the shell
// then ends every server of the cluster and removes the folder. Closing a cluster takes the same way, which is why it can
// be trusted after a kill.
type watchdog struct {
	folder    string
	command   *exec.Cmd
	lifeline  *os.File
	complaint strings.Builder
}

// startWatchdog makes the folder in TMPDIR, or where that will not do, because it is out of the reach of the user that
// runs the servers or too long for a socket, in /tmp.
func startWatchdog(ctx context.Context, binDir string, account *syscall.Credential) (*watchdog, error) {
	w, err := startWatchdogIn(ctx, os.TempDir(), binDir, account)
	if err != nil && filepath.Clean(os.TempDir()) != "/tmp" {
		return startWatchdogIn(ctx, "/tmp", binDir, account)
	}
	return w, err
}

func startWatchdogIn(ctx context.Context, parent, binDir string, account *syscall.Credential) (*watchdog, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, fmt.Errorf("pgcluster: temporary folder: %w", err)
	}
	folder := filepath.Join(parent, "sessionsql-"+strconv.FormatUint(rand.Uint64(), 36))
	if len(folder) > longestFolder {
		return nil, fmt.Errorf("pgcluster: temporary folder %s: too long for the address of a socket", folder)
	}

	// Both ends are close-on-exec: no server inherits the lifeline, and one that is being started when this process dies
	// is seen by the shell, because the last copy is closed only when the new program runs.
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pgcluster: watchdog: %w", err)
	}
	defer stdin.Close()
	w := &watchdog{folder: folder, lifeline: lifeline}
	// The environment carries the script, so that ps does not show all of it.
	w.command = exec.Command("/bin/sh", "-c", `eval "$PGCLUSTER_WATCHDOG"`, "pgcluster-watchdog", folder, binDir)
	w.command.Env = append(os.Environ(), "PGCLUSTER_WATCHDOG="+watchdogScript)
	w.command.Dir = "/"
	w.command.Stdin = stdin
	w.command.Stderr = &w.complaint
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

// release lets the watchdog end the cluster, and waits for it.
func (w *watchdog) release() error {
	w.lifeline.Close()
	if err := w.command.Wait(); err != nil {
		return fmt.Errorf("pgcluster: cleaning up: %w: %s", err, strings.TrimSpace(w.complaint.String()))
	}
	return nil
}
