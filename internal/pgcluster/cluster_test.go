package pgcluster

import (
	"context"
	"database/sql"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sessionsql/postgres/internal/testkit"
)

// start starts a cluster that ends with the test. A failed test shows the servers' logs.
func start(t *testing.T, options *Options) *Cluster {
	t.Helper()
	cluster, err := Start(t.Context(), options)
	testkit.Must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(cluster.Log())
		}
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// processesOf returns the processes whose title or arguments name the folder of a cluster.
func processesOf(t *testing.T, folder string) []process {
	t.Helper()
	all, err := listProcesses()
	testkit.Must(t, err)
	name := folder[strings.LastIndexByte(folder, '/')+1:]
	var found []process
	for _, p := range all {
		if strings.Contains(p.title, name) {
			found = append(found, p)
		}
	}
	return found
}

func assertNothingLeft(t *testing.T, folder string) {
	t.Helper()
	if left := processesOf(t, folder); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("folder left: %s (%v)", folder, err)
	}
}

func TestReplicasReceiveWhatThePrimaryWrites(t *testing.T) {
	t.Setenv("PGOPTIONS", "-c no_such_setting=1") // it must not reach the servers' own connections
	cluster := start(t, &Options{Replicas: 2, Settings: map[string]string{"work_mem": "5MB", "fsync": "on"}})
	t.Setenv("PGOPTIONS", "")

	primary := testkit.OpenPool(t, cluster.Primary.DSN("postgres"))
	execute(t, primary, "CREATE TABLE written (id bigint PRIMARY KEY)")
	execute(t, primary, "INSERT INTO written VALUES (1)")
	if got := testkit.Get[string](t, primary, "SHOW work_mem"); got != "5MB" {
		t.Errorf("work_mem is %s", got)
	}
	if got := testkit.Get[string](t, primary, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s: Settings did not override the default", got)
	}
	got := testkit.Get[string](t, primary,
		"SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_replication")
	if got != "replica1 replica2" {
		t.Errorf("replicas that stream: %s", got)
	}

	written := testkit.Get[string](t, primary, "SELECT pg_current_wal_lsn()")
	for _, replica := range cluster.Replicas {
		// The replicas are reached by their sockets, so that the test uses both kinds of address.
		db := testkit.OpenPool(t, replica.SocketDSN("postgres"))
		testkit.Eventually(t, "the row arrives", func() bool {
			return testkit.Get[string](t, db, "SELECT pg_last_wal_replay_lsn() >= '"+written+"'") == "true"
		})
		if got := testkit.Get[string](t, db, "SELECT id FROM written"); got != "1" {
			t.Errorf("replica read %s", got)
		}
		_, err := db.ExecContext(t.Context(), "INSERT INTO written VALUES (2)")
		if err == nil || !strings.Contains(err.Error(), "25006") {
			t.Errorf("a write on a replica: %v, want SQLSTATE 25006", err)
		}
	}
}

func TestAReplicaCatchesUpAfterItWasDown(t *testing.T) {
	cluster := start(t, &Options{Replicas: 1})
	replica := cluster.Replicas[0]
	testkit.Must(t, replica.Stop(t.Context()))
	if pid := replica.PID(); pid != 0 {
		t.Errorf("process id of a stopped server: %d", pid)
	}
	if err := replica.Stop(t.Context()); err != nil {
		t.Errorf("stopping a stopped server: %v", err)
	}
	primary := testkit.OpenPool(t, cluster.Primary.DSN("postgres"))
	execute(t, primary, "CREATE TABLE missed ()")
	execute(t, primary, "SELECT pg_switch_wal()")
	execute(t, primary, "CHECKPOINT")

	testkit.Must(t, replica.Start(t.Context()))
	if err := replica.Start(t.Context()); err == nil {
		t.Error("started a server twice")
	}
	db := testkit.OpenPool(t, replica.DSN("postgres"))
	testkit.Eventually(t, "the table arrives", func() bool {
		return testkit.Get[string](t, db, "SELECT to_regclass('missed') IS NOT NULL") == "true"
	})
}

func TestPromoteMakesAReplicaAcceptWrites(t *testing.T) {
	cluster := start(t, &Options{Replicas: 1})
	testkit.Must(t, cluster.Primary.Kill())
	testkit.Must(t, cluster.Replicas[0].Promote(t.Context()))
	execute(t, testkit.OpenPool(t, cluster.Replicas[0].DSN("postgres")), "CREATE TABLE promoted ()")
}

func TestFollowLeadsAReplicaToThePromotedServer(t *testing.T) {
	cluster := start(t, &Options{Replicas: 2})
	promoted, other := cluster.Replicas[0], cluster.Replicas[1]
	testkit.Must(t, cluster.Primary.Kill())
	testkit.Must(t, promoted.Promote(t.Context()))
	testkit.Must(t, other.Follow(promoted))
	execute(t, testkit.OpenPool(t, promoted.DSN("postgres")), "CREATE TABLE followed ()")
	db := testkit.OpenPool(t, other.DSN("postgres"))
	testkit.Eventually(t, "the table arrives", func() bool {
		return testkit.Get[string](t, db, "SELECT to_regclass('followed') IS NOT NULL") == "true"
	})
}

func TestKillWaitsForAProcessThatFreesMuchMemory(t *testing.T) {
	cluster := start(t, nil)
	node := cluster.Primary
	db := testkit.OpenPool(t, node.DSN("postgres")+"&work_mem=1GB")
	execute(t, db, "DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10000000)")
	before, err := node.processes(nil)
	testkit.Must(t, err)
	testkit.Must(t, node.Kill())
	all, err := listProcesses()
	testkit.Must(t, err)
	for _, p := range before {
		if slices.ContainsFunc(all, func(left process) bool { return left.pid == p.pid }) {
			t.Errorf("process %d (%s) is not gone", p.pid, p.title)
		}
	}
	testkit.Must(t, node.Start(t.Context()))
}

func TestKillLeavesNoProcess(t *testing.T) {
	cluster := start(t, nil)
	node := cluster.Primary
	db := testkit.OpenPool(t, node.DSN("postgres"))
	execute(t, db, "CREATE TABLE survives ()")
	testkit.Must(t, node.Signal("walwriter", syscall.SIGSTOP))
	if err := node.Signal("no such process", syscall.SIGSTOP); err == nil {
		t.Error("signalled a process that does not exist")
	}

	testkit.Must(t, node.Kill())
	if pid := node.PID(); pid != 0 {
		t.Errorf("process id of a killed server: %d", pid)
	}
	if left, err := node.processes(nil); err != nil || len(left) > 0 {
		t.Errorf("processes left: %v, %v", left, err)
	}
	if err := node.Kill(); err != nil {
		t.Errorf("killing a killed server: %v", err)
	}

	testkit.Must(t, node.Start(t.Context()))
	testkit.Eventually(t, "the pool sees that its connection is gone", func() bool {
		return db.PingContext(t.Context()) == nil
	})
	if got := testkit.Get[string](t, db, "SELECT to_regclass('survives') IS NOT NULL"); got != "true" {
		t.Error("a committed table is gone")
	}
}

func TestStopEndsAServerWithAStoppedProcess(t *testing.T) {
	cluster := start(t, nil)
	testkit.Must(t, cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
	testkit.Must(t, cluster.Primary.Stop(t.Context()))
}

func TestCloseLeavesNothing(t *testing.T) {
	var progress strings.Builder
	cluster := start(t, &Options{Replicas: 1, Log: &progress})
	testkit.Must(t, cluster.Primary.Signal("walwriter", syscall.SIGSTOP))
	testkit.Must(t, cluster.Replicas[0].Kill())
	shared := sharedMemory(t, cluster)

	for range 2 {
		testkit.Must(t, cluster.Close())
	}
	assertNothingLeft(t, cluster.folder)
	assertNoSharedMemory(t, shared)
	if log := cluster.Log(); log != "" {
		t.Errorf("log after Close: %s", log)
	}
	if err := cluster.Primary.Start(t.Context()); err == nil {
		t.Error("started a server of a closed cluster")
	}
	if err := cluster.Primary.Kill(); err != nil {
		t.Errorf("killing a server of a closed cluster: %v", err)
	}
	for _, step := range []string{
		"initdb", "primary: started", "replica1: started", "replica1: killed",
		"removing",
	} {
		if !strings.Contains(progress.String(), step) {
			t.Errorf("progress lacks %q:\n%s", step, progress.String())
		}
	}
}

func TestStartFailsWithTheServersOwnWords(t *testing.T) {
	_, err := Start(t.Context(), &Options{Settings: map[string]string{"no_such_setting": "it's"}})
	if err == nil ||
		!strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("error: %v", err)
	}
}

func TestStartHeedsItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	// initdb writes the first line of progress, which cancels the context.
	_, err := Start(ctx, &Options{Log: writerFunc(func(line []byte) { cancel() })})
	if err == nil {
		t.Fatal("started under a cancelled context")
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

func TestAPortTakenMeanwhileIsReplaced(t *testing.T) {
	cluster := start(t, nil)
	testkit.Must(t, cluster.Primary.Stop(t.Context()))
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(cluster.Primary.Port)))
	testkit.Must(t, err)
	defer listener.Close()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(connection, "no server of ours")
			connection.Close()
		}
	}()
	if err := cluster.Primary.Start(t.Context()); err == nil || !cluster.Primary.portTaken() {
		t.Fatalf("started on a port that is taken: %v", err)
	}
	testkit.Must(t, cluster.Primary.startFirst(t.Context()))
	if err := testkit.OpenPool(t, cluster.Primary.DSN("postgres")).PingContext(t.Context()); err != nil {
		t.Error(err)
	}
}
