package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A meter adds up the CPU time, user and system, of a contestant's servers by the operating system's account.
// CPU time stays comparable on a shared, slow machine.
type meter struct {
	pids []int // each counts with its children, living and ended
}

// used returns the CPU time so far.
func (m meter) used() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range m.pids {
		// The ended children come first, so that a child that ends meanwhile is missed and not counted twice.
		ended, err := endedChildren(pid)
		if err != nil {
			return 0, err
		}
		sum += ended
		for _, each := range append(children(pid), pid) {
			sum += processTime(each)
		}
	}
	return sum, nil
}

// clientUsed returns this process's CPU time so far.
func clientUsed() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// children returns the living children of a process. They have no children of their own.
func children(pid int) []int {
	var pids []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// processTime returns the CPU time of a living process. It is in nanoseconds if the kernel keeps them for
// each thread, else in clock ticks. The time of a process that has just ended counts with its parent.
func processTime(pid int) time.Duration {
	var sum time.Duration
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		first, _, _ := bytes.Cut(text, []byte{' '})
		nanoseconds, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			continue
		}
		sum += time.Duration(nanoseconds)
	}
	if len(files) == 0 {
		const user, system = 14, 15
		if ticks, err := statTicks(pid, user, system); err == nil {
			sum = ticks
		}
	}
	return sum
}

// endedChildren returns the CPU time of the children that a process has waited for.
func endedChildren(pid int) (time.Duration, error) {
	const user, system = 16, 17
	return statTicks(pid, user, system)
}

// tick is the unit of /proc/PID/stat, USER_HZ, which is 100 on every architecture of Go.
const tick = 10 * time.Millisecond

// statTicks adds up two fields of /proc/PID/stat by their numbers in proc(5).
func statTicks(pid, a, b int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of a server: %w", err)
	}
	// The second field, the name in parentheses, may hold any character, so the count starts behind it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var sum time.Duration
	for _, field := range []int{a, b} {
		if field-3 >= len(fields) {
			return 0, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(fields))
		}
		ticks, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}
