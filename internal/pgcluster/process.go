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

// process is one that the system runs.
type process struct {
	pid, parent int
	title       string // the command line, which PostgreSQL overwrites with what the process is
}

// listProcesses returns all processes but those that are dead and only wait for their parent to ask how they died.
func listProcesses() ([]process, error) {
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		return listProc(), nil
	}
	return listPS()
}

// listProc reads Linux's /proc. A process that ends meanwhile is left out.
func listProc() []process {
	var processes []process
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// As in "1234 (postgres) S 1200 ...": the name in parentheses may hold anything, parentheses too.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		title, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err != nil || len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		processes = append(processes, process{pid, parent, string(bytes.ReplaceAll(title, []byte{0}, []byte{' '}))})
	}
	return processes
}

// listPS asks ps, for systems without /proc.
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
