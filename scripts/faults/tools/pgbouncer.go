package tools

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// A PgBouncer stands before one server.
type PgBouncer struct {
	Port int

	box     *Box
	name    string
	mode    string
	server  int // its port
	pool    int
	named   bool // it keeps prepared statements
	process *Process
}

// Debian installs this program outside of the usual path.
const pgbouncerProgram = "/usr/sbin/pgbouncer"

// StartPgBouncer starts one in pool mode session, transaction or statement.
func StartPgBouncer(ctx context.Context, box *Box, name, mode string, server int) (*PgBouncer, error) {
	port, err := pgcluster.FreePort()
	if err != nil {
		return nil, err
	}
	b := &PgBouncer{Port: port, box: box, name: name, mode: mode, server: server, pool: 20}
	if mode == "session" {
		b.pool = 120 // because each client holds a connection to the server
	}
	version, err := box.Run(ctx, pgbouncerProgram, "--version")
	if err != nil {
		return nil, err
	}
	b.named = keepsStatements(version)
	if err := box.Write(name+".users", "\"postgres\" \"\"\n"); err != nil {
		return nil, err
	}
	if err := b.configure(); err != nil {
		return nil, err
	}
	return b, b.Start(ctx)
}

// keepsStatements reports whether a version knows max_prepared_statements, which came with 1.21.
func keepsStatements(version string) bool {
	digits := regexp.MustCompile(`PgBouncer (\d+)\.(\d+)`).FindStringSubmatch(version)
	if digits == nil {
		return false
	}
	major, _ := strconv.Atoi(digits[1])
	minor, _ := strconv.Atoi(digits[2])
	return major > 1 || minor >= 21
}

// DSN leads through PgBouncer, with the parameters that docs/operations.md advises for the version and the
// mode.
func (b *PgBouncer) DSN() string {
	dsn := "postgres://postgres@" + net.JoinHostPort("127.0.0.1", strconv.Itoa(b.Port)) +
		"/postgres?sslmode=disable"
	if b.mode != "session" && !b.named {
		dsn += "&default_query_exec_mode=exec"
	}
	return dsn
}

func (b *PgBouncer) configure() error {
	lines := []string{
		"[databases]",
		fmt.Sprintf("postgres = host=127.0.0.1 port=%d user=postgres", b.server),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		fmt.Sprintf("listen_port = %d", b.Port),
		"unix_socket_dir =",
		"auth_type = trust",
		"auth_file = " + b.box.Path(b.name+".users"),
		"admin_users = postgres",
		"pool_mode = " + b.mode,
		fmt.Sprintf("default_pool_size = %d", b.pool),
		"max_client_conn = 500",
		"server_login_retry = 1",
	}
	if b.named {
		lines = append(lines, "max_prepared_statements = 200")
	}
	return b.box.Write(b.name+".ini", strings.Join(lines, "\n")+"\n")
}

// Start starts PgBouncer for the first time or after Kill.
func (b *PgBouncer) Start(ctx context.Context) (err error) {
	if b.process, err = b.box.Start(b.name, pgbouncerProgram, b.box.Path(b.name+".ini")); err != nil {
		return err
	}
	return poll(ctx, endTimeout, b.name+" answers", func(ctx context.Context) error {
		return b.Command(ctx, "SHOW VERSION")
	})
}

// Kill ends PgBouncer by SIGKILL.
func (b *PgBouncer) Kill() error { return b.process.Kill() }

// Reload changes the size of the pools and makes PgBouncer read its configuration again.
func (b *PgBouncer) Reload(ctx context.Context) error {
	const step = 2
	if b.pool%(2*step) == 0 {
		b.pool += step
	} else {
		b.pool -= step
	}
	if err := b.configure(); err != nil {
		return err
	}
	return b.Command(ctx, "RELOAD")
}

// Command sends a command to the console.
func (b *PgBouncer) Command(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	conn, err := pgconn.Connect(ctx, fmt.Sprintf(
		"postgres://postgres@127.0.0.1:%d/pgbouncer?sslmode=disable&connect_timeout=1", b.Port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return conn.Exec(ctx, command).Close()
}

// Pause sends PAUSE, runs a function meanwhile, and sends RESUME. PAUSE answers after every client has
// released its connection to the server, which clients in session mode do not do by themselves.
func (b *PgBouncer) Pause(ctx context.Context, meanwhile func() error) error {
	pausing, stop := context.WithCancel(ctx)
	defer stop()
	paused := make(chan error, 1)
	go func() { paused <- b.Command(pausing, "PAUSE") }()
	err := meanwhile()
	if resumed := b.Command(context.WithoutCancel(ctx), "RESUME"); resumed != nil {
		return resumed
	}
	stop()
	<-paused
	return err
}
