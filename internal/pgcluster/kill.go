package pgcluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// killTimeout is far more than the system takes to end a process that is not stuck in a broken device.
const killTimeout = 30 * time.Second

var errNoProcess = errors.New("no such process")

// Kill ends the postmaster and every process below it by SIGKILL, as a crash of the machine would, and returns when they
// are gone. What the system's cache holds survives, so a lost commit is one that PostgreSQL had not written. A server that
// does not run is fine.
func (n *Node) Kill() error {
	n.turn.Lock()
	defer n.turn.Unlock()

	// A stopped postmaster starts no process that the list would lack.
	if err := n.signalPostmaster(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(killTimeout); ; {
		processes, err := n.processes()
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
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("pgcluster: %s: kill: %w", n.name, err)
			}
		}
		time.Sleep(pollInterval)
	}
	n.waitExited()
	fmt.Fprintf(n.cluster.progress, "%s: killed\n", n.name)
	return nil
}

// Signal sends a signal to every process of the server, the postmaster excepted, whose title contains title, as ps shows
// it behind the name of the cluster: "walwriter", "checkpointer", "walreceiver", "postgres postgres 127.0.0.1(40022) idle".
// It is an error if there is none.
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

// signalPostmaster holds the lock under which the postmaster is seen to run, so that its id is not yet another's.
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

// children returns the server's processes, the postmaster excepted, whose title contains title.
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

// processes returns the postmaster, all below it, and orphans of an earlier one, known by their title.
func (n *Node) processes() ([]process, error) {
	all, err := listProcesses()
	if err != nil {
		return nil, err
	}
	members := map[int]bool{}
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
