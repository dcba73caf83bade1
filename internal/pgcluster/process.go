package pgcluster

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// process is a process of the system.
type process struct {
	pid, parent int
	title       string // the command line, which PostgreSQL overwrites with a description of the process
}

// listProcesses returns all processes except the dead ones whose parent has not collected their exit status.
func listProcesses() ([]process, error) {
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		return listProc(), nil
	}
	return listPS()
}

// listProc reads Linux's /proc. It leaves out a process that ends meanwhile.
func listProc() []process {
	var processes []process
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// The line is like "1234 (postgres) S 1200 ...". The name may hold parentheses too.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		title, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		title = bytes.ReplaceAll(title, []byte{0}, []byte{' '})
		processes = append(processes, process{pid, parent, string(title)})
	}
	return processes
}

// listPS runs ps, because some systems have no /proc.
func listPS() ([]process, error) {
	out, err := exec.Command("ps", "-axo", "pid=,ppid=,stat=,command=").Output()
	if err != nil {
		return nil, fmt.Errorf("pgcluster: ps: %w", err)
	}
	var processes []process
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.HasPrefix(fields[2], "Z") {
			continue
		}
		pid, _ := strconv.Atoi(fields[0])
		parent, _ := strconv.Atoi(fields[1])
		processes = append(processes, process{pid, parent, strings.Join(fields[3:], " ")})
	}
	return processes, nil
}
