package examples_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/testkit"
)

const idleTimeout = 1800 // seconds

// canary is in every note, and nowhere else.
const canary = "Zq9CanaryNote "

// A site is a program that runs, and every token that it has given out.
type site struct {
	name     string
	port     string
	logStart int64 // of the server's log
	output   *buffer

	mu     sync.Mutex
	tokens map[string]bool
}

// A browser has at most one cookie. It keeps a Secure one although it speaks plain HTTP.
type browser struct {
	t      *testing.T
	site   *site
	agent  string
	header string // one more, as "Name: value"
	cookie *http.Cookie
}

type session struct {
	Subject   string
	Note      string
	Version   int
	ExpiresIn float64 `json:"expires_in"` // seconds
}

type listed struct {
	ID        string
	Label     string
	Current   bool
	CreatedAt time.Time `json:"created_at"`
}

func (s *site) browser(t *testing.T, agent string) *browser {
	return &browser{t: t, site: s, agent: agent}
}

// visitor is a browser with an anonymous session that has a note.
func (s *site) visitor(t *testing.T, note string) *browser {
	t.Helper()
	b := s.browser(t, "Firefox")
	b.want(200, "/note", "note", note, "version", "0")
	if got := b.session(); got.Subject != "" || got.Note != note || got.Version < 1 {
		t.Errorf("a new session is %+v", got)
	}
	return b
}

func (s *site) loggedIn(t *testing.T, name, agent string) *browser {
	t.Helper()
	b := s.browser(t, agent)
	b.want(200, "/login", "user", s.user(name))
	b.mustBe(name)
	return b
}

// user is the user of this name, whom no other program has.
func (s *site) user(name string) string { return name + "." + s.name }

// copy is another tab, or a thief: a browser that has the same cookie now.
func (b *browser) copy() *browser { copied := *b; return &copied }

func (b *browser) plant(token string) { b.cookie = &http.Cookie{Name: "__Host-session", Value: token} }

func (b *browser) token() string {
	if b.cookie == nil {
		return ""
	}
	return b.cookie.Value
}

// send sends a form and returns the answer.
func (b *browser) send(method, page, form string) (status int, body string) {
	b.t.Helper()
	address := "http://127.0.0.1:" + b.site.port + page
	request, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form))
	testkit.Must(b.t, err)
	request.Header.Set("User-Agent", b.agent)
	if method == "POST" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if name, value, ok := strings.Cut(b.header, ": "); ok {
		request.Header.Set(name, value)
	}
	if b.cookie != nil {
		request.Header.Set("Cookie", "a=b; "+b.cookie.Name+"="+b.cookie.Value+"; not"+b.cookie.Name+"=x")
	}
	response, err := http.DefaultClient.Do(request)
	testkit.Must(b.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	testkit.Must(b.t, err)
	if cookies := response.Cookies(); len(cookies) > 1 || len(cookies) == 1 && response.StatusCode != 200 {
		b.t.Errorf("%s %s answers %d and sets %d cookies", method, page, response.StatusCode, len(cookies))
	} else if len(cookies) == 1 {
		b.take(cookies[0])
	}
	// A browser would run what a note or a label says, were it HTML.
	header := response.Header
	if response.StatusCode == 200 && (!strings.Contains(header.Get("Cache-Control"), "no-store") ||
		!strings.HasPrefix(header.Get("Content-Type"), "application/json")) {
		b.t.Errorf("%s %s has the header %v", method, page, header)
	}
	return response.StatusCode, string(text)
}

func (b *browser) take(cookie *http.Cookie) {
	if cookie.MaxAge < 0 || !cookie.Expires.IsZero() && cookie.Expires.Before(time.Now()) {
		b.cookie = nil
		return
	}
	b.cookie = cookie
	b.site.mu.Lock()
	defer b.site.mu.Unlock()
	b.site.tokens[cookie.Value] = true
}

// post sends a form of names and values.
func (b *browser) post(page string, form ...string) (status int, body string) {
	b.t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		if form[i] == "note" {
			form[i+1] = canary + form[i+1]
		}
		values.Set(form[i], form[i+1])
	}
	return b.send("POST", page, values.Encode())
}

func (b *browser) want(status int, page string, form ...string) {
	b.t.Helper()
	if got, body := b.post(page, form...); got != status {
		b.t.Errorf("%s answers %d, want %d: %.200s", page, got, status, body)
	}
}

// save saves a note over the version that the page shows.
func (b *browser) save(note string) {
	b.t.Helper()
	b.want(200, "/note", "note", note, "version", strconv.Itoa(b.session().Version))
}

// session is what the page shows, without the canary.
func (b *browser) session() session {
	b.t.Helper()
	var s session
	b.get("/session", &s)
	s.Note = strings.TrimPrefix(s.Note, canary)
	return s
}

func (b *browser) list() []listed {
	b.t.Helper()
	var list []listed
	b.get("/sessions", &list)
	return list
}

func (b *browser) get(page string, into any) {
	b.t.Helper()
	status, body := b.send("GET", page, "")
	if status != 200 {
		b.t.Fatalf("GET %s: %d: %.200s", page, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		b.t.Fatalf("GET %s: %v: %.200s", page, err, body)
	}
}

func (b *browser) mustHave(want session) {
	b.t.Helper()
	got := b.session()
	got.ExpiresIn, want.ExpiresIn = 0, 0
	if got != want {
		b.t.Errorf("session is %+v, want %+v", got, want)
	}
}

func (b *browser) mustBe(name string) {
	b.t.Helper()
	if got := b.session(); got.Subject != b.site.user(name) {
		b.t.Errorf("session is %+v, want %s's", got, name)
	}
}

// mustListNothing is for whom the program may answer with an empty list or with a refusal.
func (b *browser) mustListNothing() {
	b.t.Helper()
	status, body := b.send("GET", "/sessions", "")
	if status != 401 && (status != 200 || strings.TrimSpace(body) != "[]") {
		b.t.Errorf("GET /sessions: %d: %s", status, body)
	}
}

// id is the row of the cookie's session.
func (b *browser) id() int64 {
	b.t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(b.token())
	if err != nil || len(raw) != 24 {
		b.t.Fatalf("%q is no token", b.token())
	}
	return int64(binary.BigEndian.Uint64(raw))
}

func (b *browser) row(column string) string {
	b.t.Helper()
	return get[string](b.t, "SELECT "+column+" FROM sessionsql.session WHERE id = $1", b.id())
}

func (b *browser) left() float64 {
	b.t.Helper()
	left := b.row("date_part('epoch', expires_at - now())::text")
	seconds, err := strconv.ParseFloat(left, 64)
	testkit.Must(b.t, err)
	return seconds
}

// setExpiry moves the end of the session, so that no test waits for it.
func (b *browser) setExpiry(in string) {
	pool.MustExec("UPDATE sessionsql.session SET expires_at = now() + $2::interval WHERE id = $1", b.id(), in)
}

// secrets are the spellings of what no log may hold.
func (s *site) secrets() map[string]bool {
	secrets := map[string]bool{canary: true, hex.EncodeToString([]byte(canary)): true}
	for prefix := range 3 { // where the note begins among the three bytes that base64 takes at a time
		text := base64.StdEncoding.EncodeToString([]byte("   "[:prefix] + canary))
		secrets[text[4:len(text)-4]] = true
	}
	for token := range s.tokens {
		raw, _ := base64.RawURLEncoding.DecodeString(token)
		secrets[token[11:]] = true // The rest is the id.
		secrets[hex.EncodeToString(raw[8:])] = true
	}
	return secrets
}

func get[T any](t *testing.T, query string, args ...any) T {
	t.Helper()
	return testkit.Get[T](t, pool, query, args...)
}
