package sessionsql_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// A ttl is the timeouts of one session.
type ttl struct {
	name           string
	idle, lifetime time.Duration
}

var ttls = []ttl{
	{"bank", 15 * time.Minute, 0},
	{"bank with a lifetime", 15 * time.Minute, 8 * time.Hour},
	{"remember me", 30 * 24 * time.Hour, 0},
	{"remember me for a year", 30 * 24 * time.Hour, 365 * 24 * time.Hour},
	{"of the store", 0, 0}, // the defaults of 40 minutes and 6 hours
}

// whole fills in the defaults of a Store with ttlOptions.
func (own ttl) whole() ttl {
	if own.idle == 0 {
		own.idle = 40 * time.Minute
	}
	if own.lifetime == 0 {
		own.lifetime = 6 * time.Hour
	}
	return own
}

func (own ttl) options() *sessionsql.InsertOptions {
	return &sessionsql.InsertOptions{IdleTimeout: own.idle, Lifetime: own.lifetime}
}

func ttlOptions() *sessionsql.Options {
	options := quiet()
	options.IdleTimeout, options.Lifetime = 40*time.Minute, 6*time.Hour
	return options
}

type clocks struct {
	ExpiresIn, DeadlineIn, Idle float64
}

func (d *database) clocks(t *testing.T, token sessionsql.Token) clocks {
	t.Helper()
	return get[clocks](t, d.primary, `
		SELECT date_part('epoch', s.expires_at - clock_timestamp()) AS expiresin,
		  date_part('epoch', s.deadline - clock_timestamp()) AS deadlinein, s.idle_seconds AS idle
		FROM sessionsql.session AS s WHERE s.id = $1`, idOf(t, token))
}

// near allows for the duration of the test.
func near(got float64, want time.Duration) bool {
	return got <= want.Seconds() && got > want.Seconds()-60
}

func TestEveryVerbKeepsEachSessionsOwnTimeouts(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, ttlOptions())
	inserts := map[string]func(own sessionsql.InsertOptions) sessionsql.Token{
		"Insert": func(own sessionsql.InsertOptions) sessionsql.Token {
			return mustInsert(t, store, "p", &own)
		},
		"InsertTx": func(own sessionsql.InsertOptions) sessionsql.Token {
			tx := d.primary.MustBegin()
			defer func() { must(t, tx.Commit()) }()
			return mustInsertTx(t, store, tx, "p", &own)
		},
		"Insert with a cap": func(own sessionsql.InsertOptions) sessionsql.Token {
			own.Subject, own.MaxSessions = "ann", 1000
			return mustInsert(t, store, "p", &own)
		},
		"new_session": func(own sessionsql.InsertOptions) sessionsql.Token {
			whole := ttl{idle: own.IdleTimeout, lifetime: own.Lifetime}.whole()
			return sessionsql.Token(get[string](t, d.primary,
				"SELECT sessionsql.new_session('p', make_interval(secs => $1), make_interval(secs => $2))",
				whole.idle.Seconds(), whole.lifetime.Seconds()))
		},
	}
	uses := map[string]func(*sessionsql.Token){
		"Lookup": func(token *sessionsql.Token) {
			mustLookup(t, store, *token)
			must(t, store.Flush(t.Context()))
		},
		"Touch": func(token *sessionsql.Token) {
			must(t, store.Touch(t.Context(), *token))
			must(t, store.Flush(t.Context()))
		},
		"Update": func(token *sessionsql.Token) {
			mustUpdate(t, store, *token, "p", sessionsql.AnyVersion)
		},
		"Rotate": func(token *sessionsql.Token) { *token = mustRotate(t, store, *token, nil) },
		"Rotate at login": func(token *sessionsql.Token) {
			*token = mustRotate(t, store, *token, &sessionsql.RotateOptions{Subject: "ann"})
		},
	}
	for how, insert := range inserts {
		for _, own := range ttls {
			token := insert(sessionsql.InsertOptions{IdleTimeout: own.idle, Lifetime: own.lifetime})
			want := own.whole()
			check := func(when string, expiresIn time.Duration) {
				t.Helper()
				got := d.clocks(t, token)
				if got.Idle != want.idle.Seconds() || !near(got.ExpiresIn, min(expiresIn, want.lifetime)) ||
					!near(got.DeadlineIn, want.lifetime) {
					t.Errorf("%s of %s, %s: %+v, want %v of %v",
						how, own.name, when, got, want.idle, want.lifetime)
				}
			}
			check("new", want.idle*4/3)
			for verb, use := range uses {
				// Half of the session's time has passed.
				d.setExpiry(idOf(t, token),
					fmt.Sprintf("%f seconds", min(want.idle, want.lifetime).Seconds()/2))
				use(&token)
				check("used by "+verb, want.idle*4/3)
			}
		}
	}
}

func TestNoVerbPassesTheDeadline(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	uses := map[string]func(sessionsql.Token){
		"Touch": func(token sessionsql.Token) {
			must(t, store.Touch(t.Context(), token))
			must(t, store.Flush(t.Context()))
		},
		"Update": func(token sessionsql.Token) {
			mustUpdate(t, store, token, "p", sessionsql.AnyVersion)
		},
		"Rotate": func(token sessionsql.Token) { mustRotate(t, store, token, nil) },
	}
	for _, own := range []ttl{
		{"bank", 15 * time.Minute, time.Hour},
		{"remember me", 30 * 24 * time.Hour, 60 * 24 * time.Hour},
	} {
		for verb, use := range uses {
			token := mustInsert(t, store, "p", own.options())
			// The deadline is near, and the idle timeout would reach far beyond it.
			d.primary.MustExec(`UPDATE sessionsql.session
				SET expires_at = now() + interval '2 minutes', deadline = now() + interval '5 minutes'
				WHERE id = $1`, idOf(t, token))
			use(token)
			got := d.clocks(t, token)
			if got.DeadlineIn-got.ExpiresIn > 0.001 || got.ExpiresIn > 300 {
				t.Errorf("%s of %s: %+v, want the deadline", verb, own.name, got)
			}
			if sess := mustLookup(t, store, token); sess.ExpiresIn > 5*time.Minute {
				t.Errorf("%s of %s: %v left", verb, own.name, sess.ExpiresIn)
			}
			// At the deadline the session is dead, although it was just used.
			d.primary.MustExec(`UPDATE sessionsql.session
				SET expires_at = clock_timestamp(), deadline = clock_timestamp()
				WHERE id = $1`, idOf(t, token))
			d.CatchUp(t)
			mustBeDead(t, store, token, own.name+" at its deadline, after "+verb)
		}
	}
}

func TestSharedRoundTripsKeepEachSessionsOwnTimeouts(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, ttlOptions())
	tokens := make([]sessionsql.Token, 40*len(ttls))
	var wait sync.WaitGroup
	for i := range tokens {
		wait.Go(func() {
			own := ttls[i%len(ttls)]
			token, err := store.Insert(t.Context(), "p", own.options())
			if err != nil {
				t.Error(err)
			}
			tokens[i] = token
		})
	}
	wait.Wait()
	// One flush sends all touches. The bank's sessions are due, and the remembered ones are not.
	d.primary.MustExec(`UPDATE sessionsql.session SET expires_at = now() + interval '20 minutes'
		WHERE idle_seconds < 1800`)
	d.primary.MustExec(`UPDATE sessionsql.session SET expires_at = now() + interval '10 minutes'
		WHERE idle_seconds < 1000`)
	d.CatchUp(t)
	for _, token := range tokens {
		must(t, store.Touch(t.Context(), token))
	}
	must(t, store.Flush(t.Context()))
	for i, token := range tokens {
		own := ttls[i%len(ttls)]
		want := own.whole()
		got := d.clocks(t, token)
		if got.Idle != want.idle.Seconds() || !near(got.ExpiresIn, min(want.idle*4/3, want.lifetime)) ||
			!near(got.DeadlineIn, want.lifetime) {
			t.Errorf("%d, %s: %+v, want %v of %v", i, own.name, got, want.idle, want.lifetime)
		}
	}
}

func TestABankSessionDiesBesideOneThatIsRemembered(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	bank := mustInsert(t, store, "bank",
		&sessionsql.InsertOptions{Subject: "ann", IdleTimeout: 15 * time.Minute})
	remembered := mustInsert(t, store, "remembered",
		&sessionsql.InsertOptions{Subject: "ann", IdleTimeout: 30 * 24 * time.Hour})
	// 21 minutes pass without a use, which is longer than four thirds of 15.
	d.primary.MustExec(`UPDATE sessionsql.session
		SET expires_at = expires_at - interval '21 minutes', created_at = created_at - interval '21 minutes'`)
	d.CatchUp(t)
	if _, err := store.Lookup(t.Context(), bank); err != sessionsql.ErrNoSession {
		t.Errorf("Lookup of the bank's token: %v", err)
	}
	mustOpen(t, store, remembered, "remembered", "the other")
	if list := mustList(t, store, "ann", ""); len(list) != 1 || list[0].ID != idOf(t, remembered) {
		t.Errorf("ListSubject returned %v", list)
	}
	if result := mustReap(t, store); result.Reaped != 1 {
		t.Errorf("Reap returned %+v", result)
	}
	mustBeDead(t, store, bank, "the bank's, after reaping")
	mustOpen(t, store, remembered, "remembered", "the other, after reaping")
}
