package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/sessionsql/postgres/sessionsql"
)

// Only this file of the program uses the API of the Store.

const (
	maxReplicaLag = 3 * time.Second
	maxStaleness  = time.Second // of the near caches, which every Store has
	grace         = time.Second
	anyVersion    = sessionsql.AnyVersion

	// readStaleness bounds how old any answer of another Store may be. A near cache adds nothing to a
	// replica's lag, because it drops what it has kept from one within MaxStaleness of the write.
	readStaleness = max(maxReplicaLag, maxStaleness)
)

type insertOptions = sessionsql.InsertOptions

// sessions are the workload's calls of a Store. The planted bugs wrap them.
type sessions interface {
	Insert(ctx context.Context, payload string, own *insertOptions) (token string, err error)

	// InsertTx inserts in a transaction. A token with an error means a commit in doubt.
	InsertTx(ctx context.Context, payload string, own *insertOptions) (token string, err error)

	Lookup(ctx context.Context, token string) (payload string, version int32, err error)

	// Peek is a lookup that does not keep the session alive.
	Peek(ctx context.Context, token string) (payload string, version int32, err error)

	// Recall is a Peek that no server can answer.
	Recall(token string) (payload string, version int32, err error)

	Update(ctx context.Context, token, payload string, version int32) (int32, error)
	Rotate(ctx context.Context, token string) (string, error)
	Revoke(ctx context.Context, token string) error
	RevokeSubject(ctx context.Context, subject, except string) error
	RevokeListed(ctx context.Context, token string, id int64) error

	// List returns the ids of a user's live sessions.
	List(ctx context.Context, subject string) ([]int64, error)

	// These are the calls of two Final caches. One of them has the keys that begin with "near:".
	GetEntry(ctx context.Context, key string) (value string, err error)
	RecallEntry(key string) (value string, err error)
	SetEntry(ctx context.Context, key, value string) error
	DeleteEntry(ctx context.Context, key string) error

	Close(ctx context.Context) error
}

// store is the real Store.
type store struct {
	*sessionsql.Store
	primary  *sql.DB   // for transactions of the application
	replicas []*sql.DB // of a Store over the application's pools
}

var _ sessions = (*store)(nil)

// openStore opens a Store over data source names, or with ownPools over pools like an application's.
func openStore(
	ctx context.Context, primary string, replicas []string, ownPools bool, logger *slog.Logger,
) (*store, error) {
	options := &sessionsql.Options{
		IdleTimeout:   time.Minute,
		MaxReplicaLag: maxReplicaLag,
		NearCache:     sessionsql.NearCache{MaxBytes: 1 << 20, MaxStaleness: maxStaleness},
		FlushInterval: time.Second,
		ReapInterval:  2 * time.Second,
		Logger:        logger,
	}
	pool, err := openPool(primary)
	if err != nil {
		return nil, err
	}
	s := &store{primary: pool}
	if !ownPools {
		if s.Store, err = sessionsql.Open(ctx, primary, replicas, options); err != nil {
			return nil, errors.Join(err, s.closePools())
		}
		return s, nil
	}
	for _, dsn := range replicas {
		if pool, err = openPool(dsn); err != nil {
			return nil, errors.Join(err, s.closePools())
		}
		s.replicas = append(s.replicas, pool)
	}
	var pools []sessionsql.DB
	for _, replica := range s.replicas {
		pools = append(pools, replica)
	}
	if s.Store, err = sessionsql.OpenDB(s.primary, pools, options); err != nil {
		return nil, errors.Join(err, s.closePools())
	}
	return s, nil
}

// openPool opens a pool with a connect_timeout, as the documentation advises.
func openPool(dsn string) (*sql.DB, error) {
	pool, err := sql.Open("pgx", dsn+"&connect_timeout=2")
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(poolSize)
	pool.SetMaxIdleConns(poolSize)
	return pool, nil
}

const poolSize = 16

// limitPools changes the limit of the application's pools.
func (s *store) limitPools(connections int) {
	for _, pool := range append([]*sql.DB{s.primary}, s.replicas...) {
		pool.SetMaxOpenConns(connections)
		pool.SetMaxIdleConns(connections)
	}
}

func (s *store) closePools() error {
	err := s.primary.Close()
	for _, pool := range s.replicas {
		err = errors.Join(err, pool.Close())
	}
	return err
}

func (s *store) Close(ctx context.Context) error {
	return errors.Join(s.Store.Close(ctx), s.closePools())
}

func (s *store) Insert(ctx context.Context, payload string, own *insertOptions) (string, error) {
	token, err := s.Store.Insert(ctx, payload, own)
	return string(token), err
}

func (s *store) InsertTx(ctx context.Context, payload string, own *insertOptions) (string, error) {
	tx, err := s.primary.BeginTx(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("%w: begin: %w", errOfDriver, err)
	}
	defer func() { _ = tx.Rollback() }() // it does nothing after Commit
	token, err := s.Store.InsertTx(ctx, tx, payload, own)
	if err != nil {
		return "", err
	}
	if err := tx.Commit(); err != nil {
		return string(token), fmt.Errorf("%w: commit: %w", errOfDriver, err)
	}
	return string(token), nil
}

func (s *store) Lookup(ctx context.Context, token string) (string, int32, error) {
	session, err := s.Store.Lookup(ctx, sessionsql.Token(token))
	return session.Payload, session.Version, err
}

func (s *store) Peek(ctx context.Context, token string) (string, int32, error) {
	session, err := s.Store.Peek(ctx, sessionsql.Token(token))
	return session.Payload, session.Version, err
}

// ended is a context in which a Store asks no server, and answers from its memory all the same.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (s *store) Recall(token string) (string, int32, error) { return s.Peek(ended, token) }

func (s *store) Update(ctx context.Context, token, payload string, version int32) (int32, error) {
	return s.Store.Update(ctx, sessionsql.Token(token), payload, version)
}

func (s *store) Rotate(ctx context.Context, token string) (string, error) {
	renewed, err := s.Store.Rotate(ctx, sessionsql.Token(token), &sessionsql.RotateOptions{Grace: grace})
	return string(renewed), err
}

// renew is a Rotate without a grace. The session's previous token has ended if renew returns no error.
func (s *store) renew(ctx context.Context, token string) (string, error) {
	renewed, err := s.Store.Rotate(ctx, sessionsql.Token(token), &sessionsql.RotateOptions{Grace: -1})
	return string(renewed), err
}

func (s *store) Revoke(ctx context.Context, token string) error {
	return s.Store.Revoke(ctx, sessionsql.Token(token))
}

func (s *store) RevokeSubject(ctx context.Context, subject, except string) error {
	_, err := s.Store.RevokeSubject(ctx, subject, sessionsql.Token(except))
	return err
}

func (s *store) RevokeListed(ctx context.Context, token string, id int64) error {
	return s.Store.RevokeListed(ctx, sessionsql.Token(token), id)
}

func (s *store) List(ctx context.Context, subject string) ([]int64, error) {
	list, err := s.Store.ListSubject(ctx, subject, "")
	ids := make([]int64, len(list))
	for i, session := range list {
		ids[i] = session.ID
	}
	return ids, err
}

func (s *store) cache(key string) *sessionsql.Cache {
	name := "faults"
	if strings.HasPrefix(key, nearName) {
		name = nearName + name
	}
	return s.Store.Cache(name, &sessionsql.CacheOptions{Final: true})
}

// nearName begins the names of the caches whose entries are kept in memory.
const nearName = "near:"

func (s *store) GetEntry(ctx context.Context, key string) (string, error) {
	entry, err := s.cache(key).Get(ctx, key)
	return string(entry.Value), err
}

func (s *store) RecallEntry(key string) (string, error) { return s.GetEntry(ended, key) }

func (s *store) SetEntry(ctx context.Context, key, value string) error {
	return s.cache(key).Set(ctx, key, []byte(value), 0)
}

func (s *store) DeleteEntry(ctx context.Context, key string) error {
	return s.cache(key).Delete(ctx, key)
}

// install installs the bundle, or finds it installed.
func install(ctx context.Context, dsn string) error {
	pool, err := openPool(dsn)
	if err != nil {
		return err
	}
	return errors.Join(sessionsql.Install(ctx, pool), pool.Close())
}

// errOfDriver marks an error of a transaction that the application began or committed.
var errOfDriver = errors.New("driver")

// outcomeOf classifies a Store's error. untyped reports an error that the Store does not document.
func outcomeOf(verb verb, err error) (o outcome, untyped bool) {
	switch {
	case err == nil:
		return done, false
	case errors.Is(err, sessionsql.ErrNoSession), errors.Is(err, sessionsql.ErrNoEntry),
		errors.Is(err, sessionsql.ErrEntryEnded):
		return noSession, false
	case errors.Is(err, sessionsql.ErrRotated):
		return rotated, false
	case errors.Is(err, sessionsql.ErrConflict) && verb == update:
		return conflict, false
	case errors.Is(err, sessionsql.ErrUnavailable), errors.Is(err, errOfDriver),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unsure, false
	}
	return unsure, true
}
