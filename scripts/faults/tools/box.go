package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// A Box is a folder for the files of some programs. Each program's command line names the folder, so that
// Close finds the program and its children.
type Box struct {
	Folder  string
	account *syscall.Credential // the account of the programs; nil for this process's
}

const (
	endTimeout = 20 * time.Second
	glance     = 20 * time.Millisecond // the pause between two looks
)

// NewBox makes the folder.
func NewBox() (*Box, error) {
	account, err := pgcluster.ServerCredential()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "sessionsql-tools-")
	if err != nil {
		return nil, err
	}
	b := &Box{Folder: folder, account: account}
	if account != nil {
		if err := os.Chown(folder, int(account.Uid), int(account.Gid)); err != nil {
			return nil, errors.Join(err, os.Remove(folder))
		}
	}
	return b, nil
}

// Name is unique among the boxes of this machine.
func (b *Box) Name() string { return filepath.Base(b.Folder) }

// Path returns the path of a file in the folder.
func (b *Box) Path(name string) string { return filepath.Join(b.Folder, name) }

// Write writes a file that the programs can read and change.
func (b *Box) Write(name, content string) error {
	if err := os.WriteFile(b.Path(name), []byte(content), 0o600); err != nil {
		return err
	}
	if b.account == nil {
		return nil
	}
	return os.Chown(b.Path(name), int(b.account.Uid), int(b.account.Gid))
}

// Close ends every program of the box by SIGKILL and removes the folder.
func (b *Box) Close() error {
	everything := func(process) bool { return true }
	for len(b.processes(everything)) > 0 {
		if err := b.kill(everything); err != nil {
			return err
		}
	}
	return os.RemoveAll(b.Folder)
}

// Log returns the end of every log in the folder.
func (b *Box) Log() string {
	const lines = 30
	var text strings.Builder
	logs, _ := filepath.Glob(b.Path("*.log"))
	for _, log := range logs {
		content, _ := os.ReadFile(log)
		all := strings.Split(strings.TrimSpace(string(content)), "\n")
		fmt.Fprintf(&text, "--- %s ---\n%s\n", filepath.Base(log),
			strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
	return text.String()
}

// niceness gives the measuring program the first right to the processor, because a box's programs stand for
// several machines.
const niceness = "10"

// command prepares a program. The program has its own session, so that Ctrl-C in a terminal does not reach
// it.
func (b *Box) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "nice", append([]string{"-n", niceness, name}, args...)...)
	command.Dir = b.Folder
	command.Env = []string{"LC_ALL=C.UTF-8", "HOME=" + b.Folder, "PATH=" + os.Getenv("PATH")}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: b.account}
	return command
}

// Run runs a program to its end and returns its output.
func (b *Box) Run(ctx context.Context, name string, args ...string) (string, error) {
	command := b.command(ctx, name, args...)
	command.WaitDelay = time.Second
	out, err := command.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s: %w: %s", filepath.Base(name), err, text)
	}
	return text, nil
}

// A Process is a program that Start started.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}
}

// Start starts a program that runs until it is ended, and appends its output to a log in the folder.
func (b *Box) Start(log, name string, args ...string) (*Process, error) {
	if !strings.Contains(strings.Join(args, " "), b.Folder) {
		return nil, fmt.Errorf("%s: no argument names the folder", name)
	}
	file, err := os.OpenFile(b.Path(log+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	command := b.command(context.Background(), name, args...)
	command.Stdout, command.Stderr = file, file
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &Process{command, make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Kill ends the program alone by SIGKILL, and returns when it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// Signal signals the program alone. It succeeds if the program has ended.
func (p *Process) Signal(signal syscall.Signal) error {
	err := p.command.Process.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// kill ends the chosen programs of the box and their children by SIGKILL, and returns when they are gone. New
// ones may have started meanwhile.
func (b *Box) kill(chosen func(process) bool) error {
	// A stopped program starts no child, so the second list is complete.
	if err := signalAll(b.processes(chosen), syscall.SIGSTOP); err != nil {
		return err
	}
	doomed := b.processes(chosen)
	if err := signalAll(doomed, syscall.SIGKILL); err != nil {
		return err
	}
	for deadline := time.Now().Add(endTimeout); ; {
		running := map[int]bool{}
		for _, p := range listProcesses() {
			running[p.pid] = true
		}
		if !slices.ContainsFunc(doomed, func(p process) bool { return running[p.pid] }) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a program in %s survives SIGKILL", b.Folder)
		}
		time.Sleep(glance)
	}
}

// processes returns the chosen programs whose command lines name the folder, and their descendants.
func (b *Box) processes(chosen func(process) bool) []process {
	all := listProcesses()
	members := map[int]bool{}
	var found []process
	add := func(p process) {
		members[p.pid] = true
		found = append(found, p)
	}
	for _, p := range all {
		// The title of a server's process contains the box's name as its cluster_name.
		if strings.Contains(p.title, b.Name()) && p.pid != os.Getpid() && chosen(p) {
			add(p)
		}
	}
	for before := -1; before != len(found); {
		before = len(found)
		for _, p := range all {
			if members[p.parent] && !members[p.pid] {
				add(p)
			}
		}
	}
	return found
}

func signalAll(processes []process, signal syscall.Signal) error {
	for _, p := range processes {
		if err := syscall.Kill(p.pid, signal); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("signal %v to %d: %w", signal, p.pid, err)
		}
	}
	return nil
}

// A process is an entry of the system's list.
type process struct {
	pid, parent int
	title       string // the command line
}

// is reports whether a word stands in the command line.
func (p process) is(word string) bool { return slices.Contains(strings.Fields(p.title), word) }
