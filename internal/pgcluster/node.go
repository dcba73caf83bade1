package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	loopback = "127.0.0.1"

	// pollInterval is the pause between two checks of a condition that the system does not announce.
	pollInterval = 10 * time.Millisecond
)

// Node is one server of a cluster. Its methods are safe for concurrent use.
type Node struct {
	// DataDir is the server's data folder.
	DataDir string

	// Port is the TCP port on 127.0.0.1. It stays the same when the server is started again.
	Port int

	// Env is added to the environment of this process when the server starts the next time.
	Env []string

	cluster *Cluster
	name    string

	turn sync.Mutex // held while the server is started or ended

	mu      sync.Mutex
	command *exec.Cmd     // the postmaster; nil before the first start
	exited  chan struct{} // closed when the postmaster has ended
}

func (c *Cluster) newNode(name string) *Node {
	return &Node{DataDir: filepath.Join(c.folder, name), cluster: c, name: name}
}

// clusterName is the server's cluster_name. PostgreSQL writes it into the title of each process.
func (n *Node) clusterName() string {
	return filepath.Base(n.cluster.folder) + "-" + n.name
}

func (n *Node) titlePrefix() string {
	return "postgres: " + n.clusterName() + ": "
}

// Name returns the server's first role: "primary", "replica1", "replica2" and so on.
func (n *Node) Name() string {
	return n.name
}

// Address returns the host and port of the server.
func (n *Node) Address() string {
	return net.JoinHostPort(loopback, strconv.Itoa(n.Port))
}

// DSN returns the connection URL of a database over TCP.
func (n *Node) DSN(database string) string {
	address := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     n.Address(),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return address.String()
}

// SocketDSN returns the connection URL of a database over the Unix socket.
func (n *Node) SocketDSN(database string) string {
	query := url.Values{"host": {n.cluster.folder}, "port": {strconv.Itoa(n.Port)}, "sslmode": {"disable"}}
	address := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Path:     "/" + database,
		RawQuery: query.Encode(),
	}
	return address.String()
}

// LogPath returns the path of the server's log.
func (n *Node) LogPath() string {
	return n.DataDir + ".log"
}

// PID returns the process id of the postmaster, 0 when it does not run.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.command == nil {
		return 0
	}
	select {
	case <-n.exited:
		return 0
	default:
		return n.command.Process.Pid
	}
}

// Start starts the server again after Stop or Kill. It returns when the server answers queries.
func (n *Node) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	n.turn.Lock()
	defer n.turn.Unlock()
	return n.start(ctx)
}

// startFirst starts the server on a free port, and on another if somebody took that one meanwhile.
func (n *Node) startFirst(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	for {
		port, err := FreePort()
		if err != nil {
			return err
		}
		n.Port = port
		err = configure(n.DataDir, map[string]string{
			"listen_addresses":        loopback,
			"port":                    strconv.Itoa(port),
			"unix_socket_directories": n.cluster.folder,
			"cluster_name":            n.clusterName(),
		})
		if err != nil {
			return err
		}
		if err = n.start(ctx); err == nil || ctx.Err() != nil || !n.portTaken() {
			return err
		}
		// Otherwise portTaken would find this failure in the log again.
		if err := os.Remove(n.LogPath()); err != nil {
			return fmt.Errorf("pgcluster: %s: %w", n.name, err)
		}
	}
}

// portTaken reports whether the server ended because it could not listen on its port.
func (n *Node) portTaken() bool {
	return strings.Contains(n.logTail(), "could not create any TCP/IP sockets")
}

func (n *Node) start(ctx context.Context) error {
	if n.PID() != 0 {
		return fmt.Errorf("pgcluster: %s: already running", n.name)
	}
	log, err := os.OpenFile(n.LogPath(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("pgcluster: %s: %w", n.name, err)
	}
	defer log.Close()

	serverCtx := context.WithoutCancel(ctx) // because the server outlives its start
	command := n.cluster.command(serverCtx, filepath.Join(n.cluster.binDir, "postgres"), "-D", n.DataDir)
	command.Env = append(command.Env, n.Env...)
	command.Stdout, command.Stderr = log, log
	if err := n.cluster.launch(command); err != nil {
		return fmt.Errorf("pgcluster: %s: %w", n.name, err)
	}
	exited := make(chan struct{})
	go func() {
		command.Wait()
		close(exited)
	}()
	n.mu.Lock()
	n.command, n.exited = command, exited
	n.mu.Unlock()
	fmt.Fprintf(n.cluster.progress, "%s: started on port %d\n", n.name, n.Port)

	return n.poll(ctx, "to answer queries", n.ready)
}

// ready reports whether the server answers queries. It reads the server's lock file, as pg_ctl does, because
// a port that answers could be another server's.
func (n *Node) ready() (bool, error) {
	file, err := os.ReadFile(filepath.Join(n.DataDir, "postmaster.pid"))
	if err != nil {
		return false, nil
	}
	const pidLine, statusLine = 0, 7
	lines := strings.Split(string(file), "\n")
	return len(lines) > statusLine && lines[pidLine] == strconv.Itoa(n.PID()) &&
		strings.TrimSpace(lines[statusLine]) == "ready", nil
}

// follow turns a server that was never started into a replica.
func (n *Node) follow(ctx context.Context, primary *Node) error {
	if err := n.cluster.run(ctx, "touch", filepath.Join(n.DataDir, "standby.signal")); err != nil {
		return err
	}
	return n.receiveFrom(primary)
}

func (n *Node) receiveFrom(sender *Node) error {
	return configure(n.DataDir, map[string]string{
		"primary_conninfo": fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable application_name=%s",
			loopback, sender.Port, n.name),
	})
}

// Follow makes a running replica receive WAL from another server, such as one that was promoted. It does not
// wait for the first WAL.
func (n *Node) Follow(leader *Node) error {
	if err := n.receiveFrom(leader); err != nil {
		return err
	}
	return n.signalPostmaster(syscall.SIGHUP)
}

// waitStreaming waits until a replica receives WAL.
func (n *Node) waitStreaming(ctx context.Context) error {
	return n.poll(ctx, "to stream", func() (bool, error) {
		receivers, err := n.children("walreceiver streaming")
		return len(receivers) > 0, err
	})
}

// Stop ends the server in good order and disconnects its clients, as pg_ctl's mode "fast" does. It does
// nothing if the server does not run.
func (n *Node) Stop(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	if n.PID() == 0 {
		return nil
	}
	if err := n.signalPostmaster(syscall.SIGINT); err != nil {
		return err
	}
	// A child that a test has stopped would delay the others.
	if err := n.Signal("", syscall.SIGCONT); err != nil && !errors.Is(err, errNoProcess) {
		return err
	}
	return n.waitStopped(ctx)
}

func (n *Node) waitStopped(ctx context.Context) error {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	select {
	case <-exited:
		fmt.Fprintf(n.cluster.progress, "%s: stopped\n", n.name)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pgcluster: %s: waiting for it to stop: %w", n.name, ctx.Err())
	}
}

// waitExited waits until this process has collected the exit status of a postmaster that was ended.
func (n *Node) waitExited() {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	if exited != nil {
		<-exited
	}
}

// Promote makes a replica a primary and returns when it accepts writes.
func (n *Node) Promote(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	seconds := strconv.Itoa(int(startTimeout / time.Second))
	return n.cluster.run(ctx, filepath.Join(n.cluster.binDir, "pg_ctl"),
		"promote", "--wait", "--timeout="+seconds, "--pgdata="+n.DataDir)
}

// poll waits for a condition of a running server; expected completes "waiting for it ..." in the error.
func (n *Node) poll(ctx context.Context, expected string, condition func() (bool, error)) error {
	for {
		holds, err := condition()
		if err != nil || holds {
			return err
		}
		if n.PID() == 0 {
			return fmt.Errorf("pgcluster: %s: the server ended while waiting for it %s; its log ends:\n%s",
				n.name, expected, n.logTail())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pgcluster: %s: waiting for it %s: %w; its log ends:\n%s",
				n.name, expected, ctx.Err(), n.logTail())
		case <-time.After(pollInterval):
		}
	}
}

// logTail returns the last lines of the server's log.
func (n *Node) logTail() string {
	const lines = 40
	log, err := os.ReadFile(n.LogPath())
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
