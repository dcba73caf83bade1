package sitetest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/faultproxy"
	"github.com/sessionsql/postgres/internal/testkit"
)

// ProxiedDSN leads to the database through a proxy.
func ProxiedDSN(t *testing.T) (string, *faultproxy.Proxy) {
	t.Helper()
	dsn, err := url.Parse(cluster.Primary.DSN("postgres"))
	must(t, err)
	proxy, err := faultproxy.New(dsn.Host)
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	dsn.Host = proxy.Addr()
	return dsn.String(), proxy
}

// While the primary is away a page answers 503, the cookie stays, and afterwards the visitor is still logged
// in.
func anOutageLogsNobodyOut(t *testing.T, shop Shop) {
	primary, proxy := ProxiedDSN(t)
	s := openOver(t, shop, openStoreAt(t, primary))
	ann := Subject("ann")
	b, stranger := s.Browser(), s.Browser()
	b.OK("/login?name=" + ann)
	b.OK("/add?item=tea")
	token := b.Token()
	away := func(b *Browser, path string) {
		t.Helper()
		got := b.Get(path)
		if got.StatusCode != http.StatusServiceUnavailable || got.SetsCookie() ||
			!strings.Contains(got.Text, "database unavailable") || strings.Contains(got.Text, string(token)) {
			t.Errorf("%s: %d %q %q", path, got.StatusCode, got.Text, got.Header)
		}
	}
	for _, fault := range []func(){proxy.Refuse, proxy.Freeze} {
		fault()
		for _, path := range []string{
			"/add?item=milk", "/logout", "/login?name=" + ann, "/login?name=" + Subject("bob"),
		} {
			away(b, path)
		}
		away(stranger, "/add?item=milk")
		proxy.Pass()
		if b.Token() != token {
			t.Fatal("the cookie was changed")
		}
		s.MustBeAlive(token, ann, "after the outage")
	}
	// The database goes away between the lookup and the rest.
	for _, path := range []string{"/add?item=milk", "/login?name=" + ann, "/logout"} {
		s.during = proxy.Refuse
		away(b, path)
		s.during = nil
		proxy.Pass()
		b.WantCart("map[tea:1]")
	}
	b.OK("/logout")
	s.MustBeDead(token, "after the logout")
}

// Another program of the application has added to the cart, and the replica does not have that yet.
func aLateReplicaLosesNoChange(t *testing.T, shop Shop) {
	for _, path := range []string{"/add?item=bread", "/login", "/login?label=laptop", "/login?life=1h"} {
		t.Run(path, func(t *testing.T) {
			one, two := open(t, shop), open(t, shop)
			ann := Subject("ann")
			path, want := path, "map[milk:1 tea:1]"
			if strings.HasPrefix(path, "/login") {
				_, options, _ := strings.Cut(path, "?")
				path = "/login?name=" + ann + "&" + options
			} else {
				want = "map[bread:1 milk:1 tea:1]"
			}
			writer := one.Browser()
			writer.OK("/add?item=tea")
			HoldReplica(t)
			writer.OK("/add?item=milk")
			testkit.Eventually(t, "the replica serves the other program", func() bool {
				return two.Store.Stats().Replicas[0].Usable
			})
			b := two.BrowserWith(writer.Token())
			b.WantCart("map[tea:1]") // the older one, so the test is one
			b.OK(path)
			b.WantCart(want)
		})
	}
}
