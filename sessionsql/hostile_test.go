package sessionsql_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// malformed returns a text that is no token, of one of many kinds.
func malformed(random *rand.Rand, good sessionsql.Token, buffer []byte) sessionsql.Token {
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	const alien = "+/=.~%&;'\"\\ \n\r\t\x00\x01\x7f\x80\xc3\xff"
	buffer = buffer[:0]
	letter := func() byte { return base64url[random.IntN(len(base64url))] }
	switch random.IntN(6) {
	case 0: // a wrong length
		n := random.IntN(80)
		for range n {
			buffer = append(buffer, letter())
		}
		if n == 32 {
			buffer = buffer[:31]
		}
	case 1: // random bytes
		for range 32 {
			buffer = append(buffer, byte(random.Uint32()))
		}
		buffer[random.IntN(32)] = alien[random.IntN(len(alien))]
	case 2: // the good token with a character of another alphabet
		buffer = append(buffer, good...)
		buffer[random.IntN(32)] = alien[random.IntN(len(alien))]
	case 3: // the good token, cut or with an added character
		at := random.IntN(len(good))
		buffer = append(append(append(buffer, good[:at]...), alien[random.IntN(len(alien))]), good[at:]...)
		if random.IntN(2) == 0 {
			buffer = append(buffer[:0], good[:at]...)
		}
	case 4: // a negative id
		raw, _ := base64.RawURLEncoding.DecodeString(string(good))
		binary.BigEndian.PutUint64(raw, random.Uint64()|1<<63)
		buffer = base64.RawURLEncoding.AppendEncode(buffer, raw)
	case 5: // id 0 with the right secret
		raw, _ := base64.RawURLEncoding.DecodeString(string(good))
		binary.BigEndian.PutUint64(raw, 0)
		buffer = base64.RawURLEncoding.AppendEncode(buffer, raw)
	}
	return sessionsql.Token(buffer)
}

// forged returns a token in the right form that opens nothing.
func forged(random *rand.Rand, good sessionsql.Token) sessionsql.Token {
	raw, _ := base64.RawURLEncoding.DecodeString(string(good))
	secret := raw[8:]
	stored := sha256.Sum256(secret)
	switch random.IntN(7) {
	case 0: // the right id with one wrong bit in the secret
		secret[random.IntN(16)] ^= 1 << random.IntN(8)
	case 1: // the right id with a random secret
		binary.BigEndian.PutUint64(secret, random.Uint64())
	case 2: // the stored hash as the secret
		copy(secret, stored[:16])
	case 3:
		copy(secret, stored[16:])
	case 4: // the right secret with the largest id or a random one
		binary.BigEndian.PutUint64(raw, []uint64{math.MaxInt64, random.Uint64()>>1 | 1<<40}[random.IntN(2)])
	case 5: // the right secret with another session's id
		binary.BigEndian.PutUint64(raw, binary.BigEndian.Uint64(raw)^uint64(1+random.IntN(7)))
		if binary.BigEndian.Uint64(raw) == 0 {
			raw[7] = 255
		}
	case 6: // a secret of zeros
		clear(secret)
	}
	return sessionsql.Token(base64.RawURLEncoding.EncodeToString(raw))
}

func TestAMillionHostileTokensOpenNothing(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	store := d.Store(t, nil)
	const hostile, wellFormed, malformedCallers, forgingCallers = 1_000_000, 50_000, 4, 64
	good := make([]sessionsql.Token, 8)
	for i := range good {
		good[i] = mustInsert(t, store, "p", nil)
	}
	d.CatchUp(t)

	var accepted, wrong, opened atomic.Int64
	var wait sync.WaitGroup
	expect := func(token sessionsql.Token) {
		switch sess, err := store.Lookup(t.Context(), token); {
		case err == nil:
			accepted.Add(1)
		case err != sessionsql.ErrNoSession || sess != (sessionsql.Session{}):
			if wrong.Add(1) == 1 {
				t.Errorf("%q: %v", string(token), err)
			}
		}
	}
	caller := func(work func(*rand.Rand)) {
		own := testkit.Fork(random)
		wait.Go(func() { work(own) })
	}
	for range malformedCallers {
		caller(func(random *rand.Rand) {
			buffer := make([]byte, 0, 128)
			for range (hostile - wellFormed) / malformedCallers {
				expect(malformed(random, good[random.IntN(len(good))], buffer))
			}
		})
	}
	for range forgingCallers {
		caller(func(random *rand.Rand) {
			for i := range wellFormed / forgingCallers {
				expect(forged(random, good[random.IntN(len(good))]))
				if i%50 == 0 { // good tokens travel in the same batches
					if sess, err := store.Lookup(t.Context(), good[random.IntN(len(good))]); err != nil ||
						sess.Payload != "p" {
						t.Errorf("a good token opens %q, %v", sess.Payload, err)
					}
					opened.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if accepted.Load() != 0 || wrong.Load() != 0 {
		t.Errorf("%d hostile tokens were accepted, %d got another error", accepted.Load(), wrong.Load())
	}
	// The Store refuses a malformed token without a round trip.
	sent := int64(wellFormed/forgingCallers*forgingCallers) + opened.Load()
	if stats := store.Stats(); stats.Lookups != sent || stats.PrimaryReads+stats.ReplicaReads != sent {
		t.Errorf("%d lookups were sent and %d answered, want %d",
			stats.Lookups, stats.PrimaryReads+stats.ReplicaReads, sent)
	}
	if pending := store.Stats().TouchesPending; pending != int64(len(good)) {
		t.Errorf("%d touches are pending, want %d because a hostile lookup must not touch a session",
			pending, len(good))
	}
	if n := d.countAll(t); n != len(good) {
		t.Errorf("%d rows, want %d", n, len(good))
	}
}

// Every verb uses the same parser, but other SQL.
func TestHostileTokensMoveNoVerb(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	store := d.Store(t, nil)
	good := mustInsert(t, store, "p", &sessionsql.InsertOptions{Subject: "ann"})
	var tokens []sessionsql.Token
	for range 100 {
		tokens = append(tokens, forged(random, good), malformed(random, good, nil))
	}
	before := get[string](t, d.primary, "SELECT s::text FROM sessionsql.session AS s")
	var wait sync.WaitGroup
	for part := range slices.Chunk(tokens, 25) {
		wait.Go(func() {
			for _, token := range part {
				mustBeDead(t, store, token, "a hostile token")
				if token == "" {
					continue // because an empty token is allowed there
				}
				if _, err := store.RevokeSubject(t.Context(), "ann", token); err != sessionsql.ErrNoSession {
					t.Errorf("RevokeSubject except a hostile token: %v", err)
				}
			}
		})
	}
	wait.Wait()
	if after := get[string](t, d.primary, "SELECT s::text FROM sessionsql.session AS s"); after != before {
		t.Error("the row was written")
	}
}
