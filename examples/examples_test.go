// Package examples_test drives the web login of each language over HTTP. They have the same pages, so one
// script serves them all.
package examples_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// The server of all programs, and connections to look at it from the side.
var (
	cluster *pgcluster.Cluster
	pool    *sqlx.DB
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run starts a server that logs each statement, but no parameter.
func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	cluster, err = pgcluster.Start(ctx, &pgcluster.Options{Settings: map[string]string{
		"log_statement":              "all",
		"log_min_duration_statement": "0",
		"log_parameter_max_length":   "0",
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Close() }()
	pool = sqlx.MustOpen("pgx", cluster.Primary.DSN("postgres"))
	defer func() { _ = pool.Close() }()
	pool.SetMaxIdleConns(0) // The server is restarted.
	if err := sessionsql.Install(ctx, pool); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func TestWebLogins(t *testing.T) {
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			dir := l.prepare(t)
			s := l.start(t, dir)
			for _, step := range []struct {
				promise string
				check   func(*testing.T, *site)
			}{
				{"a visitor who keeps nothing gets no session", visitorGetsNoSession},
				{"the cookie is out of reach", cookieIsOutOfReach},
				{"use keeps alive, and writes only when it is due", useKeepsAlive},
				{"a late save is a conflict", lateSaveIsAConflict},
				{"the old token dies after its grace", oldTokenDies},
				{"login takes the note along and kills the token before it", loginRotates},
				{"a planted cookie opens nothing", plantedCookieOpensNothing},
				{"a user's session does not become another's", loginOverAnothersSession},
				{"the list names the user's sessions and ends one other", listEndsOneOther},
				{"logout ends one session", logoutEndsOne},
				{"logout everywhere ends all", logoutEverywhereEndsAll},
				{"an expired session is gone", expiredIsGone},
				{"forms of other sites are refused", otherSitesAreRefused},
				{"a GET changes nothing", getChangesNothing},
				{"no input breaks the program", noInputBreaks},
				{"an outage logs nobody out", outageLogsNobodyOut},
				{"no token and no note is in a log", nothingIsLogged},
			} {
				pool.MustExec("DELETE FROM sessionsql.session")
				t.Run(step.promise, func(t *testing.T) { step.check(t, s) })
			}
			t.Run("PLAIN_HTTP leaves the cookie insecure", func(t *testing.T) {
				plainHTTP(t, l.start(t, dir, "PLAIN_HTTP=1"))
			})
		})
	}
}

func visitorGetsNoSession(t *testing.T, s *site) {
	before := get[int](t, "SELECT count(*) FROM sessionsql.session")
	b := s.browser(t, "Firefox")
	if got := b.session(); got != (session{}) || b.token() != "" {
		t.Errorf("session %+v, token %q", got, b.token())
	}
	b.want(401, "/note", "note", "x", "version", "1")
	b.mustListNothing()
	if after := get[int](t, "SELECT count(*) FROM sessionsql.session"); after != before {
		t.Errorf("%d sessions were made", after-before)
	}
}

func cookieIsOutOfReach(t *testing.T, s *site) {
	b := s.visitor(t, "x")
	got, want := *b.cookie, http.Cookie{
		Name: "__Host-session", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if got.Value, got.Raw = "", ""; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func useKeepsAlive(t *testing.T, s *site) {
	b := s.visitor(t, "x")
	// The first timeout is nearly over: what is left is less than the idle timeout.
	b.setExpiry("60 s")
	if left := b.session().ExpiresIn; left < 30 {
		t.Fatalf("%v s left", left)
	}
	testkit.Eventually(t, "kept alive", func() bool { return b.left() > idleTimeout })
	expires := b.row("expires_at::text")
	b.session()
	if again := b.row("expires_at::text"); again != expires {
		t.Errorf("written again: %s, then %s", expires, again)
	}
	if left := b.session().ExpiresIn; left < idleTimeout {
		t.Errorf("%v s left", left)
	}
}

func lateSaveIsAConflict(t *testing.T, s *site) {
	b := s.visitor(t, "first")
	version := b.session().Version
	b.want(200, "/note", "note", "second", "version", fmt.Sprint(version))
	for _, other := range []int{0, version, version + 2} {
		b.want(409, "/note", "note", "late", "version", fmt.Sprint(other))
	}
	b.mustHave(session{Note: "second", Version: version + 1})
	statuses := make(chan int, 8)
	var wait sync.WaitGroup
	for i := range cap(statuses) {
		wait.Go(func() {
			status, _ := b.post("/note", "note", fmt.Sprint("racer ", i), "version", fmt.Sprint(version+1))
			statuses <- status
		})
	}
	wait.Wait()
	counts := map[int]int{}
	for range cap(statuses) {
		counts[<-statuses]++
	}
	if counts[200] != 1 || counts[409] != cap(statuses)-1 || b.session().Version != version+2 {
		t.Errorf("statuses of a race: %v; then %+v", counts, b.session())
	}
}

func oldTokenDies(t *testing.T, s *site) {
	b := s.visitor(t, "kept")
	old := b.copy()
	before := b.session()
	b.want(200, "/renew")
	if b.token() == old.token() || b.id() != old.id() {
		t.Fatalf("renewed %q is %q, in row %d and %d", old.token(), b.token(), old.id(), b.id())
	}
	old.mustHave(before) // within the grace
	old.want(200, "/renew")
	if old.token() == b.token() || b.session().Version != before.Version {
		t.Error("the token before renewed a second time")
	}
	pool.MustExec("UPDATE sessionsql.session SET previous_until = now() WHERE id = $1", b.id())
	old.mustHave(session{})
	b.mustHave(before)
}

func loginRotates(t *testing.T, s *site) {
	b := s.visitor(t, "cart")
	before, version := b.copy(), b.session().Version
	b.want(401, "/login", "user", "")
	b.want(200, "/login", "user", s.user("ann"))
	b.mustHave(session{Subject: s.user("ann"), Note: "cart", Version: version})
	before.mustHave(session{})
	before.want(401, "/note", "note", "late", "version", "1")
	before.mustListNothing()
}

// Session fixation: who planted the cookie is logged in by its victim's login.
func plantedCookieOpensNothing(t *testing.T, s *site) {
	attacker := s.visitor(t, "bait")
	attacker.want(200, "/login", "user", s.user("mallory"))
	for name, planted := range map[string]string{
		"unknown":            strings.Repeat("A", 31) + "Q",
		"malformed":          "attacker",
		"of a live visitor":  s.visitor(t, "bait").token(),
		"of the attacker":    attacker.token(),
		"with another's id":  attacker.token()[:11] + strings.Repeat("B", 21),
		"that ends a string": `'"\`,
	} {
		for _, page := range []string{"/note", "/login"} {
			b := s.browser(t, "Firefox")
			b.plant(planted)
			if page == "/login" {
				b.want(200, page, "user", s.user("victim"))
				if got := b.session(); got.Subject != s.user("victim") {
					t.Errorf("%s: %+v", name, got)
				}
			} else if name != "of a live visitor" && name != "of the attacker" {
				b.want(200, page, "note", "x", "version", "0")
			} else {
				continue // the attacker's own session, which is the attacker's note
			}
			if b.token() == planted {
				t.Errorf("%s: %s kept the token", name, page)
			}
			thief := s.browser(t, "Firefox")
			thief.plant(planted)
			if got := thief.session(); got.Subject == s.user("victim") || got.Note == "x" {
				t.Errorf("%s: the planted token opens %+v after %s", name, got, page)
			}
		}
	}
}

func loginOverAnothersSession(t *testing.T, s *site) {
	b := s.loggedIn(t, "ann", "Firefox")
	b.save("ann's")
	ann := b.copy()
	b.want(200, "/login", "user", s.user("bob"))
	if got := b.session(); got.Subject != s.user("bob") || got.Note != "" {
		t.Errorf("%+v", got)
	}
	ann.mustHave(session{})
}

func listEndsOneOther(t *testing.T, s *site) {
	desk, phone := s.loggedIn(t, "ann", "Firefox on Linux"), s.loggedIn(t, "ann", "Téléphone")
	bob := s.loggedIn(t, "bob", "Safari")
	var labels []string
	for _, listed := range desk.list() {
		labels = append(labels, listed.Label)
		current := listed.ID == fmt.Sprint(desk.id())
		if listed.Current != current || time.Since(listed.CreatedAt).Abs() > time.Hour {
			t.Errorf("%+v", listed)
		}
	}
	if len(labels) != 2 || labels[1] != "Firefox on Linux" || !strings.HasSuffix(labels[0], "phone") {
		t.Errorf("listed: %q, want the newest first", labels)
	}
	for name, id := range map[string]string{
		"another user's": fmt.Sprint(bob.id()), "its own": fmt.Sprint(desk.id()), "no": "",
		"a word for an": "x' OR true--", "too large an": "99999999999999999999",
	} {
		if status, _ := desk.post("/sessions/end", "id", id); status != 400 && status != 401 {
			t.Errorf("%s id: %d", name, status)
		}
	}
	desk.mustBe("ann")
	phone.mustBe("ann")
	bob.mustBe("bob")
	desk.want(200, "/sessions/end", "id", fmt.Sprint(phone.id()))
	phone.mustHave(session{})
	desk.mustBe("ann")
}

func logoutEndsOne(t *testing.T, s *site) {
	desk, phone := s.loggedIn(t, "ann", "Firefox"), s.loggedIn(t, "ann", "Phone")
	old := desk.copy()
	desk.want(200, "/logout")
	if desk.cookie != nil {
		t.Errorf("the browser still has %+v", desk.cookie)
	}
	old.mustHave(session{})
	old.want(401, "/note", "note", "late", "version", "1")
	phone.mustBe("ann")
}

func logoutEverywhereEndsAll(t *testing.T, s *site) {
	desk, phone := s.loggedIn(t, "ann", "Firefox"), s.loggedIn(t, "ann", "Phone")
	bob := s.loggedIn(t, "bob", "Safari")
	visitor := s.visitor(t, "x")
	kept := visitor.session()
	old := desk.copy()
	desk.want(200, "/logout-everywhere")
	old.mustHave(session{})
	phone.mustHave(session{})
	bob.mustBe("bob")
	visitor.post("/logout-everywhere")
	visitor.mustHave(kept)
	if n := get[int](t, "SELECT count(*) FROM sessionsql.list_subject($1)", s.user("ann")); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func expiredIsGone(t *testing.T, s *site) {
	b, other := s.loggedIn(t, "ann", "Firefox"), s.loggedIn(t, "ann", "Phone")
	other.setExpiry("-1 s")
	if n := len(b.list()); n != 1 {
		t.Errorf("%d sessions are listed beside an expired one", n)
	}
	b.setExpiry("-1 s")
	expired := b.row("expires_at::text")
	b.mustHave(session{})
	b.mustListNothing()
	b.want(401, "/note", "note", "late", "version", "1")
	b.post("/renew")
	b.post("/sessions/end", "id", fmt.Sprint(other.id()))
	b.mustHave(session{})
	if now := b.row("expires_at::text || payload"); now != expired {
		t.Errorf("written after its end: %q", now)
	}
	b.want(200, "/login", "user", s.user("ann"))
	b.mustBe("ann")
}

// actions are the pages that change something.
var actions = []string{"/note", "/login", "/renew", "/logout", "/logout-everywhere", "/sessions/end"}

func otherSitesAreRefused(t *testing.T, s *site) {
	b := s.loggedIn(t, "ann", "Firefox")
	for _, header := range []string{
		"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: null",
		"Origin: https://example.com", "Origin: https://example.com:" + s.port,
	} {
		b.header = header
		for _, page := range actions {
			status, _ := b.post(page, "user", s.user("mallory"), "note", "x", "version", "1")
			if status != 403 {
				t.Errorf("%s, %s: %d", header, page, status)
			}
		}
	}
	for _, header := range []string{"Sec-Fetch-Site: same-origin", "Origin: https://127.0.0.1:" + s.port} {
		b.header = header
		b.save("own " + header)
	}
	b.mustBe("ann")
}

func getChangesNothing(t *testing.T, s *site) {
	b := s.loggedIn(t, "ann", "Firefox")
	for _, page := range append(slices.Clone(actions), "/nothing") {
		if status, _ := b.send("GET", page+"?user=bob&note=x&version=1", ""); status != 404 && status != 405 {
			t.Errorf("GET %s: %d", page, status)
		}
	}
	b.mustHave(session{Subject: s.user("ann"), Version: 1})
}

func noInputBreaks(t *testing.T, s *site) {
	b := s.loggedIn(t, "ann", "\xff\xfe agent "+strings.Repeat("é", 400))
	for _, note := range []string{
		"a+b c&d=e;f%20", "<b>&\"'\\\n\t\u2028", "grüße 😀", strings.Repeat("long ", 10_000), " ", "",
	} {
		b.save(note)
		if got := b.session().Note; got != note {
			t.Errorf("%.30q came back as %.30q", note, got)
		}
	}
	for _, form := range []string{
		"note=%00&version=7", "note=%ff&version=7", "note=%&version=7", "note=x", "note=x&version=",
		"note=x&version=-1", "note=x&version=x", "note=x&version=99999999999", "version=7&version=8",
		"&&&=&%00=%00", "",
	} {
		if status, _ := b.send("POST", "/note", form); status >= 500 {
			t.Errorf("a note by %q: %d", form, status)
		}
	}
	for _, form := range []string{
		"", "user", "user=%00", "user=%ff", "user[]=x", "user=" + strings.Repeat("u", 2000),
	} {
		if status, _ := s.browser(t, "Firefox").send("POST", "/login", form); status >= 500 {
			t.Errorf("a login by %.20q: %d", form, status)
		}
	}
	// A driver of C may end a text at its first NUL byte: the program checks one name, and logs in another.
	liar := s.browser(t, "Firefox")
	liar.send("POST", "/login", "user="+s.user("ann")+"%00x")
	if got := liar.session(); got.Subject != "" {
		t.Errorf("a name with a NUL byte in it logs in %q", got.Subject)
	}
	b.mustBe("ann")
}

func outageLogsNobodyOut(t *testing.T, s *site) {
	b := s.loggedIn(t, "ann", "Firefox")
	testkit.Must(t, cluster.Primary.Stop(t.Context()))
	for _, page := range []string{"/session", "/sessions"} {
		if status, _ := b.send("GET", page, ""); status != 503 {
			t.Errorf("GET %s: %d", page, status)
		}
	}
	for _, page := range []string{"/note", "/login", "/logout"} {
		b.want(503, page, "user", s.user("bob"), "note", "x", "version", "1")
	}
	testkit.Must(t, cluster.Primary.Start(t.Context()))
	testkit.Eventually(t, "answers again", func() bool {
		status, _ := b.send("GET", "/session", "")
		return status == 200
	})
	b.mustHave(session{Subject: s.user("ann"), Version: 1})
}

// nothingIsLogged looks for every token and note of this program, in the server's log and in its own.
func nothingIsLogged(t *testing.T, s *site) {
	log, err := os.ReadFile(cluster.Primary.LogPath())
	testkit.Must(t, err)
	text := string(log[s.logStart:]) + s.output.String()
	if statements := strings.Count(text, "sessionsql"); statements < 100 {
		t.Fatalf("the log has %d lines about sessions: it was not written", statements)
	}
	if len(s.tokens) < 20 {
		t.Fatalf("only %d tokens were seen", len(s.tokens))
	}
	for needle := range s.secrets() {
		if i := strings.Index(text, needle); i >= 0 {
			t.Errorf("%q is in a log: %.300q", needle, text[max(0, i-200):])
		}
	}
}

func plainHTTP(t *testing.T, s *site) {
	b := s.visitor(t, "x")
	if b.cookie.Name != "session" || b.cookie.Secure || !b.cookie.HttpOnly {
		t.Errorf("%+v", b.cookie)
	}
}
