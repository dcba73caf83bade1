package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds Start and Node.Start for a caller whose context has no deadline.
const startTimeout = 2 * time.Minute

var errClosed = errors.New("the cluster is closed")

// Options describes a cluster. Nil and the zero value of each field are allowed.
type Options struct {
	// Replicas is the number of streaming replicas. Defaults to 0.
	Replicas int

	// Settings go into postgresql.conf of every node and override the defaults of this package. They cannot
	// change the addresses, ports and names of the nodes.
	Settings map[string]string

	// BinDir is the folder of the server programs. Defaults to the result of FindBinaries.
	BinDir string

	// Log receives a line for each step. Defaults to none.
	Log io.Writer
}

// Cluster is a running primary and its replicas.
type Cluster struct {
	Primary  *Node
	Replicas []*Node // replica1, replica2, ... in the order of their application_name

	folder   string
	binDir   string
	account  *syscall.Credential
	progress io.Writer
	watchdog *watchdog

	mu     sync.Mutex
	closed bool

	closeOnce sync.Once
	closeErr  error
}

// Start starts a cluster. It returns when the primary accepts connections and every replica answers queries
// and streams from it. The caller closes the cluster. If this process ends before, even by SIGKILL, the
// watchdog ends the cluster.
func Start(ctx context.Context, options *Options) (_ *Cluster, err error) {
	if options == nil {
		options = &Options{}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	c := &Cluster{binDir: options.BinDir, progress: options.Log}
	if c.progress == nil {
		c.progress = io.Discard
	}
	if c.binDir == "" {
		if c.binDir, err = FindBinaries(); err != nil {
			return nil, err
		}
	}
	if c.account, err = ServerCredential(); err != nil {
		return nil, err
	}
	if c.watchdog, err = startWatchdog(ctx, c.binDir, c.account); err != nil {
		return nil, err
	}
	c.folder = c.watchdog.folder
	defer func() {
		if err != nil {
			c.Close()
		}
	}()

	c.Primary = c.newNode("primary")
	for i := range options.Replicas {
		c.Replicas = append(c.Replicas, c.newNode(fmt.Sprintf("replica%d", i+1)))
	}
	if err := c.create(ctx, options.Settings); err != nil {
		return nil, err
	}
	if err := c.Primary.startFirst(ctx); err != nil {
		return nil, err
	}
	for _, replica := range c.Replicas {
		if err := replica.follow(ctx, c.Primary); err != nil {
			return nil, err
		}
		if err := replica.startFirst(ctx); err != nil {
			return nil, err
		}
	}
	for _, replica := range c.Replicas {
		if err := replica.waitStreaming(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// create makes the data folder of every node. A replica gets a copy of the folder that the primary has before
// its first start, because that needs neither pg_basebackup nor a running server.
func (c *Cluster) create(ctx context.Context, settings map[string]string) error {
	fmt.Fprintf(c.progress, "initdb (%s) in %s\n", c.binDir, c.folder)
	// After a failure the watchdog cleans up, because initdb would remove the folder while its server runs.
	err := c.run(ctx, filepath.Join(c.binDir, "initdb"), "--pgdata="+c.Primary.DataDir, "--no-clean",
		"--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync",
		"--no-instructions")
	if err != nil {
		return err
	}
	if err := configure(c.Primary.DataDir, defaultSettings, settings); err != nil {
		return err
	}
	for _, replica := range c.Replicas {
		if err := c.run(ctx, "cp", "-Rp", c.Primary.DataDir, replica.DataDir); err != nil {
			return err
		}
	}
	return nil
}

// Close stops all servers without a last checkpoint, and removes the folder. A second Close does nothing and
// returns the same error.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		fmt.Fprintf(c.progress, "removing %s\n", c.folder)
		c.closeErr = c.watchdog.release()
		for _, node := range c.nodes() {
			node.waitExited()
		}
	})
	return c.closeErr
}

// Log returns the end of every server's log, for the report of a failed test. After Close it is empty.
func (c *Cluster) Log() string {
	var log strings.Builder
	for _, node := range c.nodes() {
		if tail := node.logTail(); tail != "" {
			fmt.Fprintf(&log, "--- %s ---\n%s\n", node.name, tail)
		}
	}
	return log.String()
}

func (c *Cluster) nodes() []*Node {
	if c.Primary == nil {
		return nil
	}
	return append([]*Node{c.Primary}, c.Replicas...)
}

// launch starts a server unless the cluster is closed, because no watchdog would end it.
func (c *Cluster) launch(command *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return command.Start()
}

// command prepares a program that runs as the user of the servers. It has a session of its own, so that
// Ctrl-C in a terminal reaches this process alone. The watchdog recognises it by its working directory.
func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = c.folder
	command.Env = c.environment()
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: c.account}
	return command
}

// environment returns that of this process without the variables that change how PostgreSQL behaves.
func (c *Cluster) environment() []string {
	kept := []string{"LC_ALL=C", "HOME=" + c.folder}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		locale := name == "LANG" || strings.HasPrefix(name, "LC_")
		if name != "HOME" && !locale && !strings.HasPrefix(name, "PG") {
			kept = append(kept, variable)
		}
	}
	return kept
}

func (c *Cluster) run(ctx context.Context, name string, args ...string) error {
	command := c.command(ctx, name, args...)
	command.WaitDelay = time.Second
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("pgcluster: %s: %w: %s", filepath.Base(name), err, strings.TrimSpace(string(out)))
	}
	return nil
}
