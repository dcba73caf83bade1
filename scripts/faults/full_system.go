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

// The full mode runs in name spaces of its own for processes, mounts and shared memory. However it ends, the
// kernel then ends every program that it started, and takes its mounts away with all files in them.
//
// The program runs three times, one below the other: outside, as the first process of the name space, and as
// the one that does the work.
const (
	roleVariable = "SESSIONSQL_FAULTS_ROLE"
	roleFirst    = "first process"
	roleWorker   = "worker"

	// room is where the file system with all temporary files is mounted. The folder exists on every Linux,
	// and nobody outside sees the mount.
	room = "/mnt"
)

var endingSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// enterOwnSystem returns in the process that does the work. The others end here.
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
	runtime.LockOSThread() // the first process dies with the thread that started it
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

// beFirst mounts what the work needs, starts the worker, and takes in the processes whose parents have ended.
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
