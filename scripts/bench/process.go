package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a peer's server on a free loopback port, with a temporary folder. A shell above it ends the
// server and removes the folder when this program closes the shell's standard input or ends in any way.
type process struct {
	address  string
	shell    *exec.Cmd
	lifeline io.Closer
}

// The shell ignores the signals that a service manager sends to all processes, because it has to clean up.
const watch = `
trap '' HUP INT TERM
folder=$1
shift
"$@" >"$folder/log" 2>&1 &
while read -r _; do :; done
kill -KILL $! 2>/dev/null
wait
rm -rf -- "$folder"`

// startRedis starts a Redis server that writes nothing to disk.
func startRedis(ctx context.Context) (*process, error) {
	return startProcess(ctx, func(port, folder string) []string {
		return []string{
			"redis-server", "--bind", loopback, "--port", port, "--dir", folder,
			"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
		}
	})
}

// startMemcached starts a memcached with more memory than any scenario fills.
func startMemcached(ctx context.Context) (*process, error) {
	return startProcess(ctx, func(port, _ string) []string {
		args := []string{
			"memcached", "--listen=" + loopback, "--port=" + port, "--udp-port=0", "--memory-limit=4096",
			"--conn-limit=2048",
		}
		if os.Geteuid() == 0 {
			args = append(args, "--user=nobody")
		}
		return args
	})
}

const loopback = "127.0.0.1"

// startProcess starts a server on a free port, and tries others if another program takes the port meanwhile.
func startProcess(ctx context.Context, commandLine func(port, folder string) []string) (*process, error) {
	var err error
	for range 3 {
		var p *process
		if p, err = startProcessOnce(ctx, commandLine); err == nil || ctx.Err() != nil {
			return p, err
		}
	}
	return nil, err
}

func startProcessOnce(ctx context.Context, commandLine func(port, folder string) []string) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "sessionsql-bench-")
	if err != nil {
		return nil, err
	}
	args := commandLine(port, folder)
	p := &process{address: net.JoinHostPort(loopback, port)}
	p.shell = exec.Command("/bin/sh", append([]string{"-c", watch, "bench-watch", folder}, args...)...)
	// The shell has its own session, so that Ctrl-C reaches this program alone, which then ends the server.
	p.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.lifeline, err = p.shell.StdinPipe(); err == nil {
		err = p.shell.Start()
	}
	if err != nil {
		_ = os.RemoveAll(folder)
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	if err := p.waitReady(ctx); err != nil {
		log := readFile(filepath.Join(folder, "log"))
		p.close()
		return nil, fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(log))
	}
	return p, nil
}

// waitReady waits until the server accepts connections.
func (p *process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// meter counts the shell and the server below it.
func (p *process) meter() meter { return meter{pids: []int{p.shell.Process.Pid}} }

func (p *process) close() {
	_ = p.lifeline.Close()
	_ = p.shell.Wait()
}

// serverVersion returns the version that a server program prints.
func serverVersion(name, flag string) string {
	out, err := exec.Command(name, flag).Output()
	if err != nil {
		return "unknown"
	}
	for _, field := range strings.Fields(string(out)) {
		field = strings.TrimPrefix(field, "v=")
		if field[0] >= '0' && field[0] <= '9' {
			return field
		}
	}
	return filepath.Base(name)
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}
