package pgcluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"time"
)

// killTimeout is far longer than the system needs to end a process that is not stuck in a broken device.
const killTimeout = 30 * time.Second

var errNoProcess = errors.New("no such process")

// Kill ends the postmaster and all its children by SIGKILL, and returns when they are gone. Unlike after a
// crash of the machine, the system's cache survives, so only commits that PostgreSQL had not written are
// lost. It does nothing if the server does not run.
func (n *Node) Kill() error {
	n.turn.Lock()
	defer n.turn.Unlock()

	// A stopped postmaster starts no child that the list of processes would lack.
	if err := n.signalPostmaster(syscall.SIGSTOP); err != nil {
		return err
	}
	killed := map[int]bool{}
	for deadline := time.Now().Add(killTimeout); ; {
		processes, err := n.processes(killed)
		if err != nil {
			return err
		}
		if len(processes) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("pgcluster: %s: %d processes survive SIGKILL", n.name, len(processes))
		}
		for _, p := range processes {
			if killed[p.pid] {
				continue
			}
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("pgcluster: %s: kill: %w", n.name, err)
			}
			killed[p.pid] = true
		}
		time.Sleep(pollInterval)
	}
	n.waitExited()
	fmt.Fprintf(n.cluster.progress, "%s: killed\n", n.name)
	return nil
}

// Signal sends a signal to every child of the postmaster whose title contains title. A title is the text that
// ps shows after the name of the cluster: "walwriter", "checkpointer", "walreceiver", "postgres postgres
// 127.0.0.1(40022) idle". It returns an error if there is no such child.
func (n *Node) Signal(title string, signal syscall.Signal) error {
	children, err := n.children(title)
	if err != nil {
		return err
	}
	if len(children) == 0 {
		return fmt.Errorf("pgcluster: %s: signal %q: %w", n.name, title, errNoProcess)
	}
	for _, p := range children {
		if err := syscall.Kill(p.pid, signal); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("pgcluster: %s: signal %q: %w", n.name, title, err)
		}
	}
	return nil
}

// signalPostmaster signals the postmaster if it runs, and never another process that got the same id.
func (n *Node) signalPostmaster(signal syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.command == nil {
		return nil
	}
	if err := n.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("pgcluster: %s: %w", n.name, err)
	}
	return nil
}

// children returns the children of the postmaster whose title contains title.
func (n *Node) children(title string) ([]process, error) {
	all, err := listProcesses()
	if err != nil {
		return nil, err
	}
	var found []process
	for _, p := range all {
		if own, ok := strings.CutPrefix(p.title, n.titlePrefix()); ok && strings.Contains(own, title) {
			found = append(found, p)
		}
	}
	return found, nil
}

// processes returns the postmaster, its descendants, and orphans of an earlier one, which it knows by title.
// Of the killed ones it returns those that are not gone yet: they have lost title and parent, and still free
// their memory. No server can start meanwhile.
func (n *Node) processes(killed map[int]bool) ([]process, error) {
	all, err := listProcesses()
	if err != nil {
		return nil, err
	}
	members := map[int]bool{}
	maps.Copy(members, killed)
	if pid := n.PID(); pid != 0 {
		members[pid] = true
	}
	var found []process
	for grown := true; grown; {
		grown = false
		found = found[:0]
		for _, p := range all {
			if members[p.pid] || members[p.parent] || strings.HasPrefix(p.title, n.titlePrefix()) {
				found = append(found, p)
				if !members[p.pid] {
					members[p.pid], grown = true, true
				}
			}
		}
	}
	return found, nil
}
