package pgcluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sessionsql/postgres/internal/testkit"
)

// childVariable makes the test binary start a cluster, print its folder and wait for its end.
const childVariable = "PGCLUSTER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		runChild()
	}
	os.Exit(m.Run())
}

func runChild() {
	options := &Options{Replicas: 1}
	if os.Getenv(childVariable) == "starting" {
		// The parent learns the folder early, so that it kills in the midst of initdb.
		options.Log = os.Stdout
	}
	cluster, err := Start(context.Background(), options)
	if err == nil {
		err = cluster.Primary.Signal("walwriter", syscall.SIGSTOP)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("running in " + cluster.folder)
	select {}
}

// startChild returns a child that leads a process group, with the folder of its cluster.
func startChild(t *testing.T, mode string) (child *exec.Cmd, folder string) {
	t.Helper()
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+mode)
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	testkit.Must(t, err)
	testkit.Must(t, child.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, folder, found := strings.Cut(strings.TrimSpace(line), " in ")
	if err != nil || !found {
		child.Process.Kill()
		child.Wait()
		t.Fatalf("child says %q, %v", line, err)
	}
	return child, folder
}

func TestAKilledProcessLeavesNothing(t *testing.T) {
	for _, test := range []struct {
		name, mode string
		group      bool
	}{
		{"process", "running", false},
		{"process group", "running", true},
		{"during initdb", "starting", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			child, folder := startChild(t, test.mode)
			victim := child.Process.Pid
			if test.group {
				victim = -victim
			}
			testkit.Must(t, syscall.Kill(victim, syscall.SIGKILL))
			child.Wait()
			gone := func() bool { return len(processesOf(t, folder)) == 0 }
			testkit.Eventually(t, "all processes are gone", gone)
			assertNothingLeft(t, folder)
		})
	}
}

// The process may end before it reads the name of the folder.
func TestAWatchdogThatNobodyHearsCleansUp(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "sessionsql-unheard")
	heard, stdout, err := os.Pipe()
	testkit.Must(t, err)
	heard.Close()
	defer stdout.Close()
	command := exec.Command("/bin/sh", "-c", watchdogScript, "pgcluster-watchdog", folder, t.TempDir())
	command.Stdout = stdout
	if err := command.Run(); err != nil {
		t.Error(err)
	}
	assertNothingLeft(t, folder)
}

// sharedMemory returns the ids of the System V segments of a cluster.
func sharedMemory(t *testing.T, cluster *Cluster) (ids []string) {
	t.Helper()
	for _, node := range cluster.nodes() {
		file, err := os.ReadFile(filepath.Join(node.DataDir, "postmaster.pid"))
		testkit.Must(t, err)
		fields := strings.Fields(strings.Split(string(file), "\n")[6])
		ids = append(ids, fields[1])
	}
	return ids
}

func assertNoSharedMemory(t *testing.T, ids []string) {
	t.Helper()
	listing, err := exec.Command("ipcs", "-m").Output()
	if err != nil {
		t.Logf("cannot look for shared memory: %v", err)
		return
	}
	for line := range bytes.Lines(listing) {
		for _, field := range strings.Fields(string(line)) {
			for _, id := range ids {
				if field == id {
					t.Errorf("shared memory left: %s", line)
				}
			}
		}
	}
}
