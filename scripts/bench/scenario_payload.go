package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/sessionsql"
)

// A Payload is the cost of payloads of one size and kind under one compression.
type Payload struct {
	Compression string  `json:"compression"`
	Kind        string  `json:"kind"` // "json" or "incompressible"
	Size        int     `json:"size"`
	Insert      Sample  `json:"insert"` // the median
	Lookup      Sample  `json:"lookup"`
	Bytes       float64 `json:"bytes"` // for a row, TOAST and free space included
}

// payloadCallers keep batches full.
const payloadCallers = 16

// payloads compares the server's default compression of long values with lz4.
func (b *bench) payloads(ctx context.Context) error {
	var tables []*payloadTable
	defer func() {
		for _, each := range tables {
			_ = each.store.Close(context.WithoutCancel(ctx))
			each.db.close()
		}
	}()
	for _, compression := range []string{"pglz", "lz4"} {
		table, err := b.openPayloadTable(ctx, compression)
		if err != nil {
			return fmt.Errorf("payload: %w", err)
		}
		if table == nil {
			b.report.Notes = append(b.report.Notes, "payload: this server was built without "+compression)
			continue
		}
		tables = append(tables, table)
	}
	for _, size := range b.payloadSizes {
		for _, kind := range []string{"json", "incompressible"} {
			b.say("payload: %s of %d bytes", kind, size)
			results, err := b.racePayload(ctx, tables, kind, size)
			if err != nil {
				return fmt.Errorf("payload: %s of %d bytes: %w", kind, size, err)
			}
			b.report.Payload = append(b.report.Payload, results...)
		}
	}
	return nil
}

// A payloadTable is the session table of its own database, under one compression.
type payloadTable struct {
	compression string
	db          *database
	store       *sessionsql.Store

	mu     sync.Mutex
	tokens []sessionsql.Token
}

// openPayloadTable returns nil if the server does not know the compression.
func (b *bench) openPayloadTable(ctx context.Context, compression string) (*payloadTable, error) {
	d, err := b.servers.database(ctx, "payload_"+compression)
	if err != nil {
		return nil, err
	}
	table := &payloadTable{compression: compression, db: d}
	err = d.exec(ctx, "ALTER TABLE sessionsql.session ALTER COLUMN payload SET COMPRESSION "+compression)
	if err == nil {
		table.store, err = d.openStore(ctx, quiet)
	}
	if err == nil {
		return table, nil
	}
	d.close()
	const notSupported, unknownValue = "0A000", "22023"
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (refused.Code == notSupported || refused.Code == unknownValue) {
		return nil, nil
	}
	return nil, err
}

func (b *bench) racePayload(
	ctx context.Context, tables []*payloadTable, kind string, size int,
) ([]Payload, error) {
	samples := payloadSamples(kind, size)
	var inserts, lookups []contestant
	for _, table := range tables {
		table.tokens = nil
		if err := table.db.exec(ctx, "TRUNCATE sessionsql.session"); err != nil {
			return nil, err
		}
		inserts = append(inserts, contestant{
			name: table.compression, cpu: b.servers.postgresMeter(),
			op: func(ctx context.Context, c *caller) error {
				token, err := table.store.Insert(ctx, samples[c.rng.IntN(len(samples))], nil)
				table.mu.Lock()
				defer table.mu.Unlock()
				table.tokens = append(table.tokens, token)
				return err
			},
		})
		lookups = append(lookups, contestant{
			name: table.compression, cpu: b.servers.postgresMeter(),
			op: func(ctx context.Context, c *caller) error {
				_, err := table.store.Lookup(ctx, table.tokens[c.rng.IntN(len(table.tokens))])
				return err
			},
			reset: table.store.Flush,
		})
	}
	t := turn{callers: payloadCallers, slice: b.payloadSlice}
	inserted, err := race(ctx, b.rounds, b.late, t, inserts)
	if err != nil {
		return nil, err
	}
	looked, err := race(ctx, b.rounds, b.late, t, lookups)
	if err != nil {
		return nil, err
	}
	var results []Payload
	for i, table := range tables {
		result := Payload{
			Compression: table.compression, Kind: kind, Size: size,
			Insert: inserted[i].Median, Lookup: looked[i].Median,
		}
		err := table.db.pool.QueryRowContext(ctx, `
			SELECT pg_table_size('sessionsql.session')::float8 / count(*)
			FROM sessionsql.session`).Scan(&result.Bytes)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// payloadSamples returns some payloads of a size.
func payloadSamples(kind string, size int) []string {
	samples := make([]string, 32)
	for i := range samples {
		if kind == "json" {
			samples[i] = jsonSample(size)
		} else {
			samples[i] = randomText(size)
		}
	}
	return samples
}

// jsonSample returns a shop's session, in which keys repeat and values differ.
func jsonSample(size int) string {
	var text strings.Builder
	fmt.Fprintf(&text, `{"user_id": %d, "csrf": %q, "locale": "en-GB", "cart": [`,
		mathrand.IntN(1e9), randomText(22))
	for text.Len() < size {
		fmt.Fprintf(&text, `{"sku": "A-%06d", "quantity": %d, "price": "%d.%02d EUR", `+
			`"added_at": "2026-03-%02dT%02d:%02d:00Z"}, `,
			mathrand.IntN(1e6), 1+mathrand.IntN(5), mathrand.IntN(200), mathrand.IntN(100),
			1+mathrand.IntN(28), mathrand.IntN(24), mathrand.IntN(60))
	}
	return text.String()[:size]
}

// randomText returns text that no compression shortens.
func randomText(size int) string {
	raw := make([]byte, size)
	_, _ = rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)[:size]
}
