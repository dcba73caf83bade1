package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/faultproxy"
)

// While the primary is away a page answers 503, the cookie stays, and afterwards the visitor is still logged
// in.
func TestAnOutageLogsNobodyOut(t *testing.T) {
	dsn, err := url.Parse(databaseURL)
	must(t, err)
	proxy, err := faultproxy.New(dsn.Host)
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	dsn.Host = proxy.Addr()
	s := newSiteOver(t, openStore(t, dsn.String()))
	s.addPages()
	ann := subject("ann")
	b, stranger := s.browser(), s.browser()
	b.want("/login?name="+ann, http.StatusOK, "")
	b.want("/add?item=tea", http.StatusOK, "")
	token := b.token()

	for _, fault := range []func(){proxy.Refuse, proxy.Freeze} {
		fault()
		for _, path := range []string{
			"/add?item=milk", "/logout", "/login?name=" + ann, "/login?name=" + subject("bob"),
		} {
			got := b.get(path)
			if got.StatusCode != http.StatusServiceUnavailable || got.Header["Set-Cookie"] != nil ||
				!strings.Contains(got.body, "database unavailable") ||
				strings.Contains(got.body, string(token)) {
				t.Errorf("%s: %d %q %q", path, got.StatusCode, got.body, got.Header)
			}
		}
		got := stranger.get("/add?item=milk")
		if got.StatusCode != http.StatusServiceUnavailable || stranger.token() != "" {
			t.Errorf("a new visitor: %d", got.StatusCode)
		}
		proxy.Pass()
		if b.token() != token {
			t.Fatal("the cookie was changed")
		}
		s.mustBeAlive(token, ann, "after the outage")
	}
	b.want("/logout", http.StatusOK, "")
	s.mustBeDead(token, "after the logout")
}
