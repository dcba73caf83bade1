package sitetest

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// Whatever token somebody plants, the visitor who logs in gets another, and the planted one opens nothing.
func aPlantedTokenGivesNothing(t *testing.T, shop Shop) {
	s := open(t, shop)
	filled := func(path string) sessionsql.Token {
		b := s.Browser()
		b.OK("/add?item=tea")
		b.OK(path)
		return b.Token()
	}
	dead := filled("/add?item=tea")
	must(t, s.Store.Revoke(t.Context(), dead))
	for name, c := range map[string]struct {
		planted sessionsql.Token
		cart    string
	}{
		"anonymous":       {filled("/add?item=milk"), "map[milk:1 tea:1]"},
		"another's login": {filled("/login?name=" + Subject("mallory")), "map[]"},
		"dead":            {dead, "map[]"},
		"unknown":         {sessionsql.Token(strings.Repeat("A", 32)), "map[]"},
		"malformed":       {"admin", "map[]"},
	} {
		ann := Subject("ann")
		b := s.BrowserWith(c.planted)
		b.OK("/login?name=" + ann)
		if b.Token() == c.planted {
			t.Errorf("%s: the planted token became the visitor's", name)
		}
		s.MustBeAlive(b.Token(), ann, name)
		b.WantCart(c.cart)
		s.MustBeDead(c.planted, name)
	}
	// An anonymous session does not begin under a planted token either.
	b := s.BrowserWith(dead)
	b.OK("/add?item=milk")
	b.WantCart("map[milk:1]")
	s.MustBeDead(dead, "after another session began")
}

// Who logs in again keeps the cart and gets another session. With a cap no other device pays for it.
func aLogInAgainSparesOtherDevices(t *testing.T, shop Shop) {
	s := open(t, shop)
	ann := Subject("ann")
	capped := "/login?cap=2&name=" + ann
	phone, laptop, third := s.Browser(), s.Browser(), s.Browser()
	phone.OK(capped)
	laptop.OK("/add?item=tea")
	for _, path := range []string{capped, capped, "/login?name=" + ann, capped + "&label=laptop"} {
		old := laptop.Token()
		laptop.OK(path)
		s.MustBeDead(old, "the token before "+path)
		s.MustBeAlive(laptop.Token(), ann, "the laptop after "+path)
		s.MustBeAlive(phone.Token(), ann, "the phone after "+path)
		laptop.WantCart("map[tea:1]")
	}
	list, err := s.Store.ListSubject(t.Context(), ann, laptop.Token())
	must(t, err)
	if len(list) != 2 || list[0].Label != "laptop" || !list[0].Current {
		t.Errorf("%+v", list)
	}
	third.OK("/add?item=milk")
	third.OK(capped) // an anonymous session counts from its login on
	s.MustBeDead(phone.Token(), "the oldest of three")
	s.MustBeAlive(laptop.Token(), ann, "the second")
}

func aLogInHasItsOwnTimeouts(t *testing.T, shop Shop) {
	s := open(t, shop)
	const month = 30 * 24 * time.Hour
	for options, fits := range map[string]func(left time.Duration) bool{
		"&life=1m":   func(left time.Duration) bool { return left <= time.Minute },
		"&idle=720h": func(left time.Duration) bool { return left > month },
	} {
		ann := Subject("ann")
		b := s.Browser()
		b.OK("/add?item=tea")
		old := b.Token()
		b.OK("/login?name=" + ann + options)
		s.MustBeDead(old, "the anonymous one")
		b.WantCart("map[tea:1]")
		if left := s.MustBeAlive(b.Token(), ann, "the new one").ExpiresIn; !fits(left) {
			t.Errorf("%s: it expires in %v", options, left)
		}
	}
}

// A form that is sent twice logs in twice, and whichever answer the browser keeps has the cart.
func concurrentLogInsAllSucceed(t *testing.T, shop Shop) {
	for _, again := range []bool{false, true} {
		s := open(t, shop)
		ann := Subject("ann")
		first := s.Browser()
		first.OK("/add?item=tea")
		if again {
			first.OK("/login?name=" + ann)
		}
		const tabs = 8
		var loaded, wait sync.WaitGroup
		loaded.Add(tabs)
		s.during = func() { loaded.Done(); loaded.Wait() }
		for range tabs {
			b := s.BrowserWith(first.Token())
			wait.Go(func() {
				b.OK("/login?name=" + ann)
				s.MustBeAlive(b.Token(), ann, "a tab's session")
				b.WantCart("map[tea:1]")
			})
		}
		wait.Wait()
		s.MustBeDead(first.Token(), "the token before")
	}
}

func aLogInRefusesBadOptions(t *testing.T, shop Shop) {
	s := open(t, shop)
	full := s.Browser()
	full.OK("/add?item=tea")
	for _, b := range []*Browser{s.Browser(), full} {
		for _, options := range []string{
			"", "name=%00", "name=ann&cap=-1", "name=" + strings.Repeat("x", 2000),
		} {
			got := b.Get("/login?" + options)
			if got.StatusCode != http.StatusInternalServerError || got.SetsCookie() ||
				!strings.Contains(got.Text, sessionsql.ErrOptions.Error()) {
				t.Errorf("%q: %d %q", options, got.StatusCode, got.Text)
			}
		}
		// The label is refused after the old token is dead, so the visitor has a new one.
		label := url.QueryEscape(strings.Repeat("x", 300))
		if got := b.Get("/login?name=ann&label=" + label); got.StatusCode != http.StatusInternalServerError {
			t.Errorf("a label that is too long: %d", got.StatusCode)
		}
	}
	s.MustBeAlive(full.Token(), "", "the anonymous session")
	full.WantCart("map[tea:1]")
}

// While a login is under way, another request adds to the cart, or finds its token dead.
func aLogInLosesNoChangeOfAnotherRequest(t *testing.T, shop Shop) {
	s := open(t, shop)
	for _, options := range []string{"", "&label=laptop", "&life=1h"} {
		for _, again := range []bool{false, true} {
			ann := Subject("ann")
			b := s.Browser()
			b.OK("/add?item=tea")
			if again {
				b.OK("/login?name=" + ann)
			}
			tab := s.BrowserWith(b.Token())
			s.during = func() { s.during = nil; tab.OK("/add?item=milk") }
			b.OK("/login?name=" + ann + options)
			b.WantCart("map[milk:1 tea:1]")

			tab.Plant(b.Token())
			s.during = func() { s.during = nil; b.OK("/login?name=" + ann + options) }
			if tab.WantNoSession("/add?item=bread").SetsCookie() {
				t.Error("a late save touches the cookie, which may be the newer one by now")
			}
			b.WantCart("map[milk:1 tea:1]")
		}
	}
}
