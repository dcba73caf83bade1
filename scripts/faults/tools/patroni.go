package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// A Patroni is three servers, an agent for each, and an etcd.
type Patroni struct {
	Members []*Member

	box         *Box
	etcd        *etcd
	binaries    string
	synchronous bool
}

// A Member is a server with its agent.
type Member struct {
	Name string
	Port int // of the server
	REST int // of the agent

	patroni *Patroni
	agent   *Process
}

const (
	patroniProgram = "/usr/bin/patroni"
	patroniControl = "/usr/bin/patronictl"

	// LeaseTime is how long a silent leader stays the leader.
	LeaseTime = 6 * time.Second

	// WatchdogMargin is the time before the end of the lease at which a watchdog resets the leader's machine.
	WatchdogMargin = 2 * time.Second

	patroniTimeout = 90 * time.Second
)

// StartPatroni returns when the leader has two replicas.
func StartPatroni(ctx context.Context, box *Box, synchronous bool) (*Patroni, error) {
	binaries, err := pgcluster.FindBinaries()
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"pg_basebackup", "pg_rewind", "pg_controldata", "pg_isready"} {
		if _, err := os.Stat(filepath.Join(binaries, program)); err != nil {
			return nil, fmt.Errorf(
				"Patroni needs %s, which %s lacks: set SESSIONSQL_PG_BIN to the programs of "+
					"your system's package", program, binaries)
		}
	}
	p := &Patroni{box: box, binaries: binaries, synchronous: synchronous}
	version, err := box.Run(ctx, patroniProgram, "--version")
	if err != nil {
		return nil, err
	}
	if p.etcd, err = startEtcd(ctx, box, overwritesLock(version)); err != nil {
		return nil, err
	}
	for i := range 3 {
		m := &Member{Name: fmt.Sprintf("node%d", i+1), patroni: p}
		if m.Port, err = pgcluster.FreePort(); err != nil {
			return nil, err
		}
		if m.REST, err = pgcluster.FreePort(); err != nil {
			return nil, err
		}
		p.Members = append(p.Members, m)
		if err := m.configure(); err != nil {
			return nil, err
		}
		if err := m.StartAgent(); err != nil {
			return nil, err
		}
		if i == 0 { // because the agents would race to make the first server
			if _, err := p.WaitLeader(ctx, nil); err != nil {
				return nil, err
			}
		}
	}
	return p, p.WaitHealthy(ctx)
}

// overwritesLock reports whether a thawed agent of this version takes the lock from another leader under
// etcd's API of version 3. Versions before 3.0.3 do (patroni/patroni#2689).
func overwritesLock(version string) bool {
	var major, minor, patch int
	_, err := fmt.Sscanf(version, "patroni %d.%d.%d", &major, &minor, &patch)
	return err == nil && (major < 3 || major == 3 && minor == 0 && patch < 3)
}

// configure writes the agent's configuration as JSON, which is YAML too.
func (m *Member) configure() error {
	type object = map[string]any
	p := m.patroni
	user := object{"username": "postgres"}
	settings := object{
		"fsync": "off", "max_connections": 200, "shared_buffers": "64MB", "wal_keep_size": "256MB",
		"wal_retrieve_retry_interval": "200ms", "dynamic_shared_memory_type": "mmap",
		"unix_socket_directories": p.box.Folder,
	}
	text, err := json.MarshalIndent(object{
		"scope":    p.box.Name(),
		"name":     m.Name,
		p.etcd.api: object{"hosts": p.etcd.address},
		"restapi":  object{"listen": loopback(m.REST), "connect_address": loopback(m.REST)},
		"bootstrap": object{
			"dcs": object{
				// These are the shortest values that satisfy loop_wait + 2 retry_timeout <= ttl.
				"ttl": int(LeaseTime / time.Second), "loop_wait": 1, "retry_timeout": 2,
				"synchronous_mode": p.synchronous,
				"postgresql":       object{"use_pg_rewind": true, "use_slots": true},
			},
			"initdb": []any{
				object{"encoding": "UTF8"},
				object{"locale": "C"},
				object{"auth": "trust"},
				"no-sync",
			},
			"pg_hba": []string{
				"local all all trust", "host all all 127.0.0.1/32 trust",
				"host replication all 127.0.0.1/32 trust",
			},
		},
		"postgresql": object{
			"listen": loopback(m.Port), "connect_address": loopback(m.Port),
			"data_dir": p.box.Path(m.Name), "bin_dir": p.binaries, "pgpass": p.box.Path(m.Name + ".pgpass"),
			"authentication": object{"superuser": user, "replication": user, "rewind": user},
			"parameters":     settings,
		},
		"watchdog": object{"mode": "off"},
	}, "", "  ")
	if err != nil {
		return err
	}
	return p.box.Write(m.Name+".yml", string(text))
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// DSN leads to the server.
func (m *Member) DSN() string {
	return "postgres://postgres@" + loopback(m.Port) + "/postgres?sslmode=disable&connect_timeout=1"
}

// StartAgent starts the agent for the first time or after Kill. The agent starts the server if it does not
// run.
func (m *Member) StartAgent() (err error) {
	m.agent, err = m.patroni.box.Start(m.Name, patroniProgram, m.patroni.box.Path(m.Name+".yml"))
	return err
}

// KillAgent ends the agent alone by SIGKILL.
func (m *Member) KillAgent() error { return m.agent.Kill() }

// KillServer ends the server alone, with all its processes, by SIGKILL.
func (m *Member) KillServer() error { return m.patroni.box.kill(m.isPostmaster) }

func (m *Member) isPostmaster(p process) bool {
	return p.is("-D") && p.is(m.patroni.box.Path(m.Name)) && strings.Contains(p.title, "/postgres ")
}

// Freeze stops every process of the agent and of the server. A stopped agent and a stopped postmaster start
// no other process.
func (m *Member) Freeze() error {
	if err := m.agent.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	box := m.patroni.box
	if err := signalAll(box.processes(m.isPostmaster), syscall.SIGSTOP); err != nil {
		return err
	}
	return signalAll(box.processes(m.isPostmaster), syscall.SIGSTOP)
}

// Thaw continues them, the server first.
func (m *Member) Thaw() error {
	if err := signalAll(m.patroni.box.processes(m.isPostmaster), syscall.SIGCONT); err != nil {
		return err
	}
	return m.agent.Signal(syscall.SIGCONT)
}

// WaitLeader waits until a member other than the given one accepts writes, and returns it.
func (p *Patroni) WaitLeader(ctx context.Context, other *Member) (leader *Member, err error) {
	err = poll(ctx, patroniTimeout, "a member leads", func(ctx context.Context) error {
		for _, m := range p.Members {
			if m != other && m.leads(ctx) {
				leader = m
				return nil
			}
		}
		return fmt.Errorf("no member leads")
	})
	return leader, err
}

// leads asks the server, because its agent may learn of a change later.
func (m *Member) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, m.DSN())
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(ctx) }()
	var leads bool
	err = conn.QueryRow(ctx, "SELECT NOT pg_is_in_recovery()").Scan(&leads)
	return err == nil && leads
}

// clusterView is an agent's knowledge of all members.
type clusterView struct {
	Members []struct{ Name, Role, State string }
}

// WaitHealthy waits until one leader has two streaming replicas, one of them synchronous in synchronous mode.
func (p *Patroni) WaitHealthy(ctx context.Context) error {
	return poll(ctx, patroniTimeout, "all members are well", func(ctx context.Context) error {
		leader, err := p.view(ctx, p.Members[0])
		if err != nil {
			return err
		}
		for _, m := range p.Members {
			role := "replica"
			if m == leader {
				role = "primary"
			}
			if err := getJSON(ctx, "http://"+loopback(m.REST)+"/"+role, nil); err != nil {
				return err
			}
		}
		var status struct {
			Replication []struct{ State string }
		}
		if err := getJSON(ctx, "http://"+loopback(leader.REST)+"/patroni", &status); err != nil {
			return err
		}
		streaming := 0
		for _, r := range status.Replication {
			if r.State == "streaming" {
				streaming++
			}
		}
		if streaming != len(p.Members)-1 {
			return fmt.Errorf("the leader's replicas: %+v", status.Replication)
		}
		// A replica becomes synchronous for PostgreSQL before Patroni lets it lead.
		_, err = p.candidate(ctx, leader, 1)
		return err
	})
}

// view asks an agent for the leader, and checks that all of its members run.
func (p *Patroni) view(ctx context.Context, asked *Member) (leader *Member, err error) {
	var all clusterView
	if err := getJSON(ctx, "http://"+loopback(asked.REST)+"/cluster", &all); err != nil {
		return nil, err
	}
	for _, seen := range all.Members {
		if seen.State != "running" && seen.State != "streaming" {
			return nil, fmt.Errorf("%s is %s", seen.Name, seen.State)
		}
		for _, m := range p.Members {
			if seen.Role == "leader" && seen.Name == m.Name {
				leader = m
			}
		}
	}
	if leader == nil || len(all.Members) != len(p.Members) {
		return nil, fmt.Errorf("%s sees %+v", asked.Name, all.Members)
	}
	return leader, nil
}

// candidate returns a member that a planned switchover may promote: the synchronous one in synchronous mode,
// else one of the two by its number.
func (p *Patroni) candidate(ctx context.Context, leader *Member, which int) (*Member, error) {
	for _, m := range p.Members {
		if m == leader {
			continue
		}
		if p.synchronous {
			if getJSON(ctx, "http://"+loopback(m.REST)+"/synchronous", nil) == nil {
				return m, nil
			}
		} else if which--; which == 0 {
			return m, nil
		}
	}
	return nil, fmt.Errorf("no member can take over")
}

// Switchover makes Patroni promote another member, the first or the second of the others.
func (p *Patroni) Switchover(ctx context.Context, which int) error {
	leader, err := p.WaitLeader(ctx, nil)
	if err != nil {
		return err
	}
	candidate, err := p.candidate(ctx, leader, which)
	if err != nil {
		return err
	}
	_, err = p.box.Run(ctx, patroniControl, "-c", p.box.Path(leader.Name+".yml"), "switchover", p.box.Name(),
		"--leader", leader.Name, "--candidate", candidate.Name, "--force")
	return err
}

// getJSON asks an agent or etcd. A status other than 200 is an error.
func getJSON(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}
