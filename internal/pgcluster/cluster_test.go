package pgcluster

import (
	"context"
	"database/sql"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// start starts a cluster that ends with the test, and shows the servers' logs if that fails.
func start(t *testing.T, options *Options) *Cluster {
	t.Helper()
	cluster, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
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

// connect opens a pool that ends with the test.
func connect(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func query(t *testing.T, db *sql.DB, statement string) (value string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), statement).Scan(&value); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

// eventually polls a condition for as long as a slow machine may take.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(pollInterval)
	}
}

// processesOf returns the processes whose title or arguments name the folder of a cluster.
func processesOf(t *testing.T, folder string) []process {
	t.Helper()
	all, err := listProcesses()
	if err != nil {
		t.Fatal(err)
	}
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
	t.Setenv("PGOPTIONS", "-c no_such_setting=1") // must not reach the servers' own connections
	cluster := start(t, &Options{Replicas: 2, Settings: map[string]string{"work_mem": "5MB", "fsync": "on"}})
	t.Setenv("PGOPTIONS", "")

	primary := connect(t, cluster.Primary.DSN("postgres"))
	execute(t, primary, "CREATE TABLE written (id bigint PRIMARY KEY)")
	execute(t, primary, "INSERT INTO written VALUES (1)")
	if got := query(t, primary, "SHOW work_mem"); got != "5MB" {
		t.Errorf("work_mem is %s", got)
	}
	if got := query(t, primary, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s: Settings did not override the default", got)
	}
	got := query(t, primary, `SELECT string_agg(application_name, ' ' ORDER BY application_name)
		FROM pg_stat_replication`)
	if got != "replica1 replica2" {
		t.Errorf("replicas that stream: %s", got)
	}

	written := query(t, primary, "SELECT pg_current_wal_lsn()")
	for _, replica := range cluster.Replicas {
		// The socket, so that both kinds of address are tried.
		db := connect(t, replica.SocketDSN("postgres"))
		eventually(t, "the row arrives", func() bool {
			return query(t, db, "SELECT pg_last_wal_replay_lsn() >= '"+written+"'") == "true"
		})
		if got := query(t, db, "SELECT id FROM written"); got != "1" {
			t.Errorf("replica read %s", got)
		}
		if _, err := db.ExecContext(t.Context(), "INSERT INTO written VALUES (2)"); err == nil ||
			!strings.Contains(err.Error(), "25006") {
			t.Errorf("a write on a replica: %v, want SQLSTATE 25006", err)
		}
	}
}

func TestAReplicaCatchesUpAfterItWasDown(t *testing.T) {
	cluster := start(t, &Options{Replicas: 1})
	replica := cluster.Replicas[0]
	if err := replica.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pid := replica.PID(); pid != 0 {
		t.Errorf("process id of a stopped server: %d", pid)
	}
	if err := replica.Stop(t.Context()); err != nil {
		t.Errorf("stopping a stopped server: %v", err)
	}
	primary := connect(t, cluster.Primary.DSN("postgres"))
	execute(t, primary, "CREATE TABLE missed ()")
	execute(t, primary, "SELECT pg_switch_wal()")
	execute(t, primary, "CHECKPOINT")

	if err := replica.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := replica.Start(t.Context()); err == nil {
		t.Error("started a server twice")
	}
	db := connect(t, replica.DSN("postgres"))
	eventually(t, "the table arrives", func() bool {
		return query(t, db, "SELECT to_regclass('missed') IS NOT NULL") == "true"
	})
}

func TestPromoteMakesAReplicaAcceptWrites(t *testing.T) {
	cluster := start(t, &Options{Replicas: 1})
	if err := cluster.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Replicas[0].Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	execute(t, connect(t, cluster.Replicas[0].DSN("postgres")), "CREATE TABLE promoted ()")
}

func TestFollowLeadsAReplicaToThePromotedServer(t *testing.T) {
	cluster := start(t, &Options{Replicas: 2})
	promoted, other := cluster.Replicas[0], cluster.Replicas[1]
	if err := cluster.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := promoted.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Follow(promoted); err != nil {
		t.Fatal(err)
	}
	execute(t, connect(t, promoted.DSN("postgres")), "CREATE TABLE followed ()")
	db := connect(t, other.DSN("postgres"))
	eventually(t, "the table arrives", func() bool {
		return query(t, db, "SELECT to_regclass('followed') IS NOT NULL") == "true"
	})
}

func TestKillLeavesNoProcess(t *testing.T) {
	cluster := start(t, nil)
	node := cluster.Primary
	db := connect(t, node.DSN("postgres"))
	execute(t, db, "CREATE TABLE survives ()")
	if err := node.Signal("walwriter", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := node.Signal("no such process", syscall.SIGSTOP); err == nil {
		t.Error("signalled a process that does not exist")
	}

	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	if pid := node.PID(); pid != 0 {
		t.Errorf("process id of a killed server: %d", pid)
	}
	if left, err := node.processes(); err != nil || len(left) > 0 {
		t.Errorf("processes left: %v, %v", left, err)
	}
	if err := node.Kill(); err != nil {
		t.Errorf("killing a killed server: %v", err)
	}

	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pool sees that its connection is gone", func() bool {
		return db.PingContext(t.Context()) == nil
	})
	if got := query(t, db, "SELECT to_regclass('survives') IS NOT NULL"); got != "true" {
		t.Error("a committed table is gone")
	}
}

func TestStopEndsAServerWithAStoppedProcess(t *testing.T) {
	cluster := start(t, nil)
	if err := cluster.Primary.Signal("walwriter", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Primary.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	var progress strings.Builder
	cluster := start(t, &Options{Replicas: 1, Log: &progress})
	if err := cluster.Primary.Signal("walwriter", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Replicas[0].Kill(); err != nil {
		t.Fatal(err)
	}
	shared := sharedMemory(t, cluster)

	for range 2 {
		if err := cluster.Close(); err != nil {
			t.Fatal(err)
		}
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
	// The first line of progress, that of initdb, cancels.
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
	if err := cluster.Primary.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(cluster.Primary.Port)))
	if err != nil {
		t.Fatal(err)
	}
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
	if err := cluster.Primary.startFirst(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := connect(t, cluster.Primary.DSN("postgres")).PingContext(t.Context()); err != nil {
		t.Error(err)
	}
}
