package postgres_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

// Both commands run as user postgres and need only PostgreSQL and a shell, so the official image and the
// stand-in of scripts/engine.sh work alike. They keep the data outside the volume that the official image
// declares.
const (
	findServer = `set -eu
for bin in /usr/lib/postgresql/*/bin; do PATH=$bin:$PATH; done
data=$(mktemp -d)/data
`

	// Neighbours in the container network are trusted, and other clients present $PGPASSWORD.
	runPrimary = findServer + `
echo "$PGPASSWORD" >"${data%/data}/password"
initdb --pgdata="$data" --username=postgres --pwfile="${data%/data}/password" --auth=trust \
	--encoding=UTF8 --locale=C --no-sync
cat >>"$data/pg_hba.conf" <<'END'
host replication all samenet trust
host all all samenet trust
host all all all scram-sha-256
END
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp -c wal_level=replica`

	// The replica retries, because the primary may still be starting. Expire ends a replica that never finds
	// its primary.
	runReplica = findServer + `
until pg_basebackup --host="$PRIMARY" --username=postgres --pgdata="$data" --write-recovery-conf \
	--wal-method=stream --checkpoint=fast --no-sync
do
	rm -rf "$data"
	sleep 0.2
done
chmod 0700 "$data"
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp`

	runInstall = `set -eu
for bin in /usr/lib/postgresql/*/bin; do PATH=$bin:$PATH; done
exec psql --no-psqlrc --quiet --host=/tmp --username=postgres --dbname=postgres --single-transaction \
	--set=ON_ERROR_STOP=1 --file=/tmp/sql/install.sql`

	containerLifetime = 600 // seconds; the engine then ends a container whose test was killed
)

// engine returns the Docker engine that DOCKER_HOST names, else the machine's own. Without an engine it skips
// the test, and fails it under SESSIONSQL_REQUIRE_DOCKER=1.
func engine(t *testing.T) *dockertest.Pool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	pool, err := dockertest.NewPool("")
	if err == nil {
		err = pool.Client.PingWithContext(ctx)
	}
	if err != nil {
		if os.Getenv("SESSIONSQL_REQUIRE_DOCKER") == "1" {
			t.Fatalf("no Docker engine answers: %v; scripts/engine.sh up starts one", err)
		}
		t.Skipf("no Docker engine answers: %v; scripts/engine.sh up starts one", err)
	}
	return pool
}

// startContainers starts a primary and its replica in their own network and waits until both answer. They end
// with the test, and a failed test shows their logs.
func startContainers(t *testing.T) (primaryDSN, replicaDSN string, primary *dockertest.Resource) {
	t.Helper()
	pool := engine(t)
	name := "sessionsql-" + strings.ToLower(rand.Text()[:8])
	network, err := pool.CreateNetwork(name)
	if err != nil {
		t.Fatalf("creating the network: %v", err)
	}
	t.Cleanup(func() {
		// The engine detaches a removed container after it has answered, so the first attempt may fail.
		if err := pool.Retry(network.Close); err != nil {
			t.Errorf("removing the network: %v", err)
		}
	})

	password := rand.Text()
	primary = startContainer(t, pool, network, name+"-primary", runPrimary, "PGPASSWORD="+password)
	replica := startContainer(t, pool, network, name+"-replica", runReplica, "PGPASSWORD="+password,
		"PRIMARY="+name+"-primary")
	primaryDSN = containerDSN(pool, primary, password)
	replicaDSN = containerDSN(pool, replica, password)
	for _, dsn := range []string{primaryDSN, replicaDSN} {
		if err := pool.Retry(func() error { return ping(t.Context(), dsn) }); err != nil {
			t.Fatalf("a container does not answer: %v", err)
		}
	}
	return primaryDSN, replicaDSN, primary
}

func startContainer(
	t *testing.T, pool *dockertest.Pool, network *dockertest.Network, name, command string, env ...string,
) *dockertest.Resource {
	t.Helper()
	bindIP := "127.0.0.1"
	if engineHost(pool) != bindIP {
		bindIP = "0.0.0.0"
	}
	resource, err := pool.RunWithOptions(&dockertest.RunOptions{
		Name:         name,
		Repository:   envOr("SESSIONSQL_DOCKER_IMAGE", "postgres"),
		Tag:          envOr("SESSIONSQL_DOCKER_TAG", "17"),
		Entrypoint:   []string{"sh", "-c"},
		Cmd:          []string{command},
		User:         "postgres",
		Env:          env,
		Networks:     []*dockertest.Network{network},
		ExposedPorts: []string{"5432/tcp"},
		PortBindings: map[docker.Port][]docker.PortBinding{"5432/tcp": {{HostIP: bindIP}}},
	}, func(host *docker.HostConfig) {
		host.AutoRemove = true
		host.NetworkMode = network.Network.ID // because some engines join the default network as well
	})
	if err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}

	// The log is followed from the start, because the engine forgets the log of a container that has ended.
	var log bytes.Buffer
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		_ = pool.Client.Logs(docker.LogsOptions{
			Container: resource.Container.ID, OutputStream: &log, ErrorStream: &log,
			Stdout: true, Stderr: true, Follow: true,
		})
	}()
	t.Cleanup(func() {
		_ = pool.Purge(resource) // it fails if the container has ended
		<-logged
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, log.String())
		}
	})
	if err := resource.Expire(containerLifetime); err != nil {
		t.Fatalf("limiting the life of %s: %v", name, err)
	}
	return resource
}

// engineHost returns the host at which the engine publishes ports.
func engineHost(pool *dockertest.Pool) string {
	endpoint, err := url.Parse(pool.Client.Endpoint())
	if err != nil || endpoint.Hostname() == "" {
		return "127.0.0.1" // a unix socket or a named pipe
	}
	return endpoint.Hostname()
}

func containerDSN(pool *dockertest.Pool, resource *dockertest.Resource, password string) string {
	return fmt.Sprintf(
		"host=%s port=%s user=postgres password=%s dbname=postgres sslmode=disable connect_timeout=5",
		engineHost(pool), resource.GetPort("5432/tcp"), password)
}

func envOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func ping(ctx context.Context, dsn string) error {
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.PingContext(ctx)
}

// installByPsql installs the bundle by psql on the server in one transaction, as people without Go do. It
// uploads the files, because an engine on another machine cannot mount a folder of this one.
func installByPsql(t *testing.T, primary *dockertest.Resource) {
	t.Helper()
	var archive, output bytes.Buffer
	files := tar.NewWriter(&archive)
	err := fs.WalkDir(bundle.Bundle, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(bundle.Bundle, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: "sql/" + path, Mode: 0o644, Size: int64(len(content))}
		if err := files.WriteHeader(header); err != nil {
			return err
		}
		_, err = files.Write(content)
		return err
	})
	if err != nil {
		t.Fatalf("packing the bundle: %v", err)
	}
	if err := files.Close(); err != nil {
		t.Fatalf("packing the bundle: %v", err)
	}
	if err := engine(t).Client.UploadToContainer(primary.Container.ID, docker.UploadToContainerOptions{
		InputStream: &archive, Path: "/tmp", Context: t.Context(),
	}); err != nil {
		t.Fatalf("uploading the bundle: %v", err)
	}
	status, err := primary.Exec([]string{"sh", "-c", runInstall},
		dockertest.ExecOptions{StdOut: &output, StdErr: &output})
	if err != nil || status != 0 {
		t.Fatalf("psql -f install.sql: status %d, %v\n%s", status, err, output.String())
	}
}

func TestContainersServeSessions(t *testing.T) {
	primaryDSN, replicaDSN, container := startContainers(t)
	primary, replica := testkit.OpenPool(t, primaryDSN), testkit.OpenPool(t, replicaDSN)

	t.Run("psql installs the bundle, twice", func(t *testing.T) {
		installByPsql(t, container)
		installByPsql(t, container)
		version := testkit.Get[string](t, primary, `SELECT sessionsql.version()`)
		if version != bundle.Version {
			t.Fatalf("version %s, want %s", version, bundle.Version)
		}
	})

	store := sessiontest.OpenStore(t, primaryDSN, []string{replicaDSN}, nil)
	defer func() { testkit.Must(t, store.Close(context.Background())) }()
	insert := func(t *testing.T) sessionsql.Token {
		t.Helper()
		token, err := store.Insert(t.Context(), "payload", nil)
		testkit.Must(t, err)
		return token
	}
	expire := func(t *testing.T, interval string) {
		t.Helper()
		_, err := primary.ExecContext(t.Context(),
			`UPDATE sessionsql.session SET expires_at = now() + $1::interval`, interval)
		testkit.Must(t, err)
	}

	t.Run("a session is looked up on the replica", func(t *testing.T) {
		token := insert(t)
		before := store.Stats().ReplicaReads
		testkit.Eventually(t, "the replica is read from", func() bool {
			if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "payload" {
				t.Fatalf("Lookup returned payload %q and error %v", sess.Payload, err)
			}
			return store.Stats().ReplicaReads > before
		})
		if !testkit.Get[bool](t, replica, `SELECT pg_is_in_recovery()`) {
			t.Error("the second server is not in recovery")
		}
	})

	t.Run("a touch keeps a session alive", func(t *testing.T) {
		token := insert(t)
		expire(t, "1 minute")
		testkit.Must(t, store.Touch(t.Context(), token))
		testkit.Must(t, store.Flush(t.Context()))
		left := testkit.Get[float64](t, primary, `SELECT max(expires_in) FROM sessionsql.live_session`)
		if left < 2390 {
			t.Errorf("%v seconds left, want 2400", left)
		}
	})

	t.Run("a revoked session is gone", func(t *testing.T) {
		token := insert(t)
		testkit.Must(t, store.Revoke(t.Context(), token))
		if _, err := store.Lookup(t.Context(), token); !errors.Is(err, sessionsql.ErrNoSession) {
			t.Errorf("after logout: %v", err)
		}
	})

	t.Run("an expired session is invisible, and reaped", func(t *testing.T) {
		token := insert(t)
		rows := testkit.Get[int64](t, primary, `SELECT count(*) FROM sessionsql.session`)
		expire(t, "-1 second")
		if _, err := store.Lookup(t.Context(), token); err == nil {
			// The replica may have it still, and the primary must not.
			left := testkit.Get[int64](t, primary, `SELECT count(*) FROM sessionsql.live_session`)
			if left != 0 {
				t.Errorf("%d expired sessions are alive", left)
			}
		}
		result, err := store.Reap(t.Context())
		if err != nil || result.Reaped != rows || !result.LapDone {
			t.Errorf("Reap returned %+v and error %v, want %d rows", result, err, rows)
		}
	})
}
