package sitetest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

func theCookieIsStrict(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	check := func(path string, maxAge int, cacheControl string) {
		t.Helper()
		got := b.OK(path)
		cookies := got.Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%s sets %d cookies", path, len(cookies))
		}
		c := cookies[0]
		if c.Name != CookieName || c.Path != "/" || c.Domain != "" || !c.Secure || !c.HttpOnly ||
			c.SameSite != http.SameSiteLaxMode || c.MaxAge != maxAge {
			t.Errorf("%s sets %s", path, c.Raw)
		}
		if got.Header.Get("Cache-Control") != cacheControl {
			t.Errorf("%s: Cache-Control %q, want %q", path, got.Header.Get("Cache-Control"), cacheControl)
		}
	}
	check("/add?item=tea", 0, "no-store")
	token := b.Token()
	b.OK("/add?item=milk")
	if b.Token() != token {
		t.Error("the token changed without a login")
	}
	check("/login?name="+Subject("ann"), 0, "no-store")
	check("/logout", -1, "no-store")
	if b.Token() != "" {
		t.Error("the cookie is still there")
	}
}

func noTokenNoLookup(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	check := func(cart string, want int64) {
		t.Helper()
		before := s.Store.Stats().Lookups
		b.WantCart(cart)
		if got := s.Store.Stats().Lookups - before; got != want {
			t.Errorf("%d lookups, want %d", got, want)
		}
	}
	check("map[]", 0)
	b.Plant("malformed")
	check("map[]", 0)
	b.OK("/add?item=tea")
	check("map[tea:1]", 1)
}

func aTamperedTokenOpensNothing(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	b.OK("/add?item=tea")
	token := string(b.Token())
	for i := range token {
		other := "A"
		if token[i] == 'A' {
			other = "B"
		}
		s.BrowserWith(sessionsql.Token(token[:i] + other + token[i+1:])).WantCart("map[]")
	}
	for _, wrong := range []string{token[1:], token[:31], token + "A", token + "=", token + token} {
		s.BrowserWith(sessionsql.Token(wrong)).WantCart("map[]")
	}
	b.WantCart("map[tea:1]")
}

func anExpiredSessionIsGone(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	b.OK("/add?item=tea")
	expired := b.Token()
	setExpiry(t, expired, "-1 second")
	b.WantCart("map[]")
	b.OK("/add?item=milk")
	b.WantCart("map[milk:1]")
	if b.Token() == expired {
		t.Error("the new session has the token of the expired one")
	}
	s.MustBeDead(expired, "the expired one")
}

func aUseKeepsASessionAlive(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	b.OK("/add?item=tea")
	fresh := s.MustBeAlive(b.Token(), "", "the session").ExpiresIn
	setExpiry(t, b.Token(), "5 minutes")
	b.WantCart("map[tea:1]")
	must(t, s.Store.Flush(t.Context()))
	primary, replica := pools(t)
	sessiontest.WaitReplayed(t, primary, replica)
	if got := s.MustBeAlive(b.Token(), "", "the session").ExpiresIn; got < fresh-testkit.Patience {
		t.Errorf("it expires in %v, want %v", got, fresh)
	}
}

// setExpiry sets how long a session has left, on the replica too.
func setExpiry(t *testing.T, token sessionsql.Token, left string) {
	t.Helper()
	primary, replica := pools(t)
	const update = `UPDATE sessionsql.session AS s SET expires_at = clock_timestamp() + $2::interval
WHERE s.id = sessionsql.token_id($1)`
	result, err := primary.Exec(update, string(token), left)
	must(t, err)
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d rows, %v", n, err)
	}
	sessiontest.WaitReplayed(t, primary, replica)
}

// FuzzCookie sends any bytes as the Cookie header.
func FuzzCookie(f *testing.F, shop Shop) {
	handler := shop(OpenStore(f), func() {})
	get := func(path, cookie string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(http.MethodGet, path, nil), httptest.NewRecorder()
		r.Header["Cookie"] = []string{cookie}
		handler.ServeHTTP(w, r)
		return w
	}
	live := get("/add?item=tea", "").Result().Cookies()[0].Value
	for _, seed := range []string{
		"", "=", ";", CookieName, CookieName + "=", CookieName + "=x",
		CookieName + "=\"x\"", CookieName + "=\x00", CookieName + `="` + live + `"`,
		"session=" + live, CookieName + "=" + live, CookieName + "=" + live + "=",
		CookieName + "=" + strings.Repeat("A", 32), CookieName + "=" + strings.Repeat("A", 5000),
		"a=b; " + CookieName + "=" + live[:31] + "; " + CookieName + "=" + live,
		"\u2000" + CookieName + "=" + live, "$Version=1; " + CookieName + "=" + live,
		strings.ToLower(CookieName) + "=" + live,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		w := get("/cart", header)
		// Only the whole token opens the session, and only right after the cookie's own name.
		plain := CookieName + "=" + live
		named := strings.Contains(strings.ReplaceAll(header, `"`, ""), plain)
		full, empty := w.Body.String() == "map[tea:1]", w.Body.String() == "map[]"
		if w.Code != http.StatusOK || full && !named || empty && header == plain || !full && !empty {
			t.Errorf("%q: %d %q", header, w.Code, w.Body)
		}
		if w.Header()["Set-Cookie"] != nil {
			t.Errorf("%q: sets a cookie", header)
		}
	})
}
