package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// The full mode runs in its own name spaces for processes, mounts and shared memory. At its end, in any way,
// the kernel ends every program in them and removes their mounts with all files.
//
// The program runs three times, one process below the other: outside, as the first process of the name space,
// and as the worker.
const (
	roleVariable = "SESSIONSQL_FAULTS_ROLE"
	roleFirst    = "first process"
	roleWorker   = "worker"

	// room is the mount point for all temporary files. The folder exists on every Linux, and no process
	// outside sees the mount.
	room = "/mnt"
)

var endingSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// enterOwnSystem returns in the worker. The other two processes end here.
func enterOwnSystem() {
	var status int
	var err error
	switch os.Getenv(roleVariable) {
	case roleWorker:
		return
	case roleFirst:
		status, err = beFirst()
	default:
		status, err = beOutside()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults: --full:", err)
		status = 2
	}
	os.Exit(status)
}

// beOutside starts the first process of the name spaces, and waits for it.
func beOutside() (status int, err error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("it takes root, to mount small file systems")
	}
	runtime.LockOSThread() // because the first process dies with the thread that started it
	command := exec.Command("/proc/self/exe", os.Args[1:]...)
	command.Env = append(os.Environ(), roleVariable+"="+roleFirst)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endingSignals...)
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("it takes the right to make name spaces (CAP_SYS_ADMIN): %w", err)
	}
	go func() {
		for s := range signals {
			_ = command.Process.Signal(s)
		}
	}()
	err = command.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// beFirst mounts the worker's file systems, starts the worker, and reaps orphaned processes.
func beFirst() (status int, err error) {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", 0, ""},
		{"faults", "/dev/shm", "tmpfs", 0, "mode=1777"},
		{"faults", room, "tmpfs", 0, "mode=1777,size=8g"},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return 0, fmt.Errorf("it takes the right to mount (CAP_SYS_ADMIN): %s: %w", m.target, err)
		}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endingSignals...)
	if err := errors.Join(os.Setenv(roleVariable, roleWorker), os.Setenv("TMPDIR", room)); err != nil {
		return 0, err
	}
	worker, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(worker, s.(syscall.Signal))
		}
	}()
	for {
		var ended syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ended, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case pid == worker && ended.Exited():
			return ended.ExitStatus(), nil
		case pid == worker:
			return 0, fmt.Errorf("the worker ended by signal %v", ended.Signal())
		}
	}
}
