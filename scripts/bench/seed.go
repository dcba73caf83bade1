package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/sessionsql/postgres/sessionsql"
)

// These expressions for the expiry use g, the number of the row.
const (
	// freshExpiry spreads the expiries of sessions in use between T and T + T/3 from now.
	freshExpiry = `now() + make_interval(secs => 1800 + 600 * random())`

	// dueExpiry makes the next touch write the row.
	dueExpiry = `now() + make_interval(secs => 900)`
)

// seedSessions fills the bundle's table with rows 1 to n, whose tokens seededToken knows. It vacuums the
// table, so that the first contestant does not pay for that.
func (d *database) seedSessions(ctx context.Context, rows int, expiry string) error {
	return d.seedShard(ctx, rows, expiry, 1, 0)
}

// seedShard fills the table with those of the rows 1 to n that a shard owns.
func (d *database) seedShard(ctx context.Context, rows int, expiry string, shards, shard int) error {
	err := d.load(ctx, rows, fmt.Sprintf(`
		INSERT INTO sessionsql.session (
		  id, expires_at, created_at, idle_seconds, version, secret_hash, payload
		)
		OVERRIDING SYSTEM VALUE
		SELECT g, %s, now(), %v, 1, sha256(int8send(g) || int8send(g)), '%s' FROM`,
		expiry, idleTimeout.Seconds(), payload), fmt.Sprintf("g %% %d = %d", shards, shard))
	if err != nil {
		return err
	}
	return d.exec(ctx,
		fmt.Sprintf("SELECT setval(pg_get_serial_sequence('sessionsql.session', 'id'), %d)", rows),
		"VACUUM (ANALYZE) sessionsql.session",
	)
}

// load runs an INSERT ... SELECT ... FROM for the numbers g of the rows 1 to n that meet a condition, on two
// connections.
func (d *database) load(ctx context.Context, rows int, insert, condition string) error {
	part := func(first, last int) error {
		return d.exec(ctx, fmt.Sprintf("%s generate_series(%d::bigint, %d) AS g WHERE %s",
			insert, first, last, condition))
	}
	var wait sync.WaitGroup
	var errs [2]error
	wait.Go(func() { errs[0] = part(1, rows/2) })
	wait.Go(func() { errs[1] = part(rows/2+1, rows) })
	wait.Wait()
	return errors.Join(errs[:]...)
}

// seededTokens are the tokens of rows 1 to n.
func seededTokens(rows int) []sessionsql.Token {
	tokens := make([]sessionsql.Token, rows)
	for slot := range tokens {
		tokens[slot] = seededToken(int64(slot + 1))
	}
	return tokens
}

// seededToken is the token of a seeded row. Its secret is the id, twice.
func seededToken(id int64) sessionsql.Token {
	var raw [24]byte
	for i := range 3 {
		binary.BigEndian.PutUint64(raw[8*i:], uint64(id))
	}
	return sessionsql.Token(base64.RawURLEncoding.EncodeToString(raw[:]))
}
