package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sessionsql/postgres/sessionsql"
)

// A site is a web site like an application's. All of its knowledge of a visitor is in the session.
type site struct {
	store   *sessionsql.Store
	rules   rules
	lookups samples // the durations of lookups that found a session

	deadlocks atomic.Int64 // deadlocks that reached the application
	requests  atomic.Int64
	errors    atomic.Int64 // the requests with a 5xx answer

	monitor http.Handler // of /status; nil without one
}

// A visitor is the content of a session.
type visitor struct {
	Name   string   `json:"name"`
	Views  int      `json:"views"`
	Recent []string `json:"recent"` // the times of the last views, newest first
	Public bool     `json:"public"` // logged in on a public computer, so the session has an absolute timeout
}

const (
	cookieName     = "session"
	requestTimeout = 10 * time.Second
	maxRecent      = 6
	maxName        = 64
)

func newSite(store *sessionsql.Store, rules rules) *site { return &site{store: store, rules: rules} }

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /account", s.account)
	mux.HandleFunc("GET /login", s.welcome)
	mux.HandleFunc("POST /login", s.logIn)
	mux.HandleFunc("POST /logout", s.logOut)
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		w.Header().Set("Cache-Control", "no-store") // because no shared cache may keep a visitor's page
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
	if s.monitor == nil {
		return pages
	}
	all := http.NewServeMux()
	all.Handle("/", pages)
	all.Handle("/status", s.monitor)
	all.Handle("/status.json", s.monitor)
	return all
}

// listen serves the site on a free loopback port until shutDown, which waits for the requests under way.
func (s *site) listen(logger *slog.Logger) (url string, shutDown func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelError),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // it returns after Shutdown
	}()
	return "http://" + listener.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close()
		}
		<-served
	}, nil
}

// home counts its visitor's views. It writes the session only if its version is unchanged and else reads it
// again, because two tabs may count at once.
func (s *site) home(w http.ResponseWriter, r *http.Request) {
	for {
		token := presented(r)
		session, v, err := s.loggedIn(r.Context(), token)
		if err != nil {
			s.fail(w, err)
			return
		}
		v.Views++
		v.Recent = append([]string{time.Now().Format(time.TimeOnly)},
			v.Recent[:min(len(v.Recent), maxRecent-1)]...)
		_, err = s.save(r.Context(), token, v, session.Version)
		switch {
		case err == nil:
			s.show(w, http.StatusOK, homePage, v)
			return
		case !errors.Is(err, sessionsql.ErrConflict):
			s.fail(w, err)
			return
		}
	}
}

// account only reads, so the lookup keeps the session alive.
func (s *site) account(w http.ResponseWriter, r *http.Request) {
	_, v, err := s.loggedIn(r.Context(), presented(r))
	if err != nil {
		s.fail(w, err)
		return
	}
	s.show(w, http.StatusOK, accountPage, v)
}

// welcome gives a visitor without a session an anonymous one, as sites do for a shopping cart.
func (s *site) welcome(w http.ResponseWriter, r *http.Request) {
	switch _, err := s.store.Lookup(r.Context(), presented(r)); {
	case errors.Is(err, sessionsql.ErrNoSession):
		token, err := s.store.Insert(r.Context(), "{}", nil)
		if err != nil {
			s.fail(w, err)
			return
		}
		http.SetCookie(w, cookie(r, string(token)))
	case err != nil:
		s.fail(w, err)
		return
	}
	s.show(w, http.StatusOK, loginPage, nil)
}

func (s *site) logIn(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("name")
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		s.show(w, http.StatusBadRequest, loginPage, "A name has between 1 and 64 bytes.")
		return
	}
	token, err := s.enter(r.Context(), presented(r),
		visitor{Name: name, Public: r.PostFormValue("public") != ""})
	if err != nil {
		s.fail(w, err)
		return
	}
	http.SetCookie(w, cookie(r, string(token)))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// enter gives a visitor who logs in a new token. The presented session gets a new secret and a subject, and
// its old token is dead at once, because an attacker may have planted it (session fixation; OWASP ASVS 5.0,
// 7.2.4). If the absolute timeout changes, enter ends the session and makes a new one.
func (s *site) enter(ctx context.Context, old sessionsql.Token, v visitor) (sessionsql.Token, error) {
	_, was, err := s.lookup(ctx, old)
	if err != nil && !errors.Is(err, sessionsql.ErrNoSession) {
		return "", err
	}
	if err == nil && !v.Public && !was.Public {
		token, err := s.store.Rotate(ctx, old, &sessionsql.RotateOptions{Subject: v.Name})
		if err == nil {
			_, err = s.save(ctx, token, v, sessionsql.AnyVersion)
			return token, err
		}
		if !errors.Is(err, sessionsql.ErrNoSession) && !errors.Is(err, sessionsql.ErrRotated) {
			return "", err
		}
	}
	if err := s.store.Revoke(ctx, old); err != nil && !errors.Is(err, sessionsql.ErrNoSession) {
		return "", err
	}
	payload, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	options := &sessionsql.InsertOptions{Subject: v.Name}
	if v.Public {
		options.Lifetime = s.rules.lifetime
	}
	return s.store.Insert(ctx, string(payload), options)
}

// logOut answers after the session is dead for good.
func (s *site) logOut(w http.ResponseWriter, r *http.Request) {
	if err := s.store.Revoke(r.Context(), presented(r)); err != nil &&
		!errors.Is(err, sessionsql.ErrNoSession) {
		s.fail(w, err)
		return
	}
	gone := cookie(r, "")
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// cookie returns a cookie that scripts and other sites' forms cannot reach, and that never leaves an
// encrypted connection.
func cookie(r *http.Request, value string) *http.Cookie {
	return &http.Cookie{
		Name:     cookieName,
		Value:    value,
		Path:     "/",
		HttpOnly: true,
		Secure:   r.TLS != nil,
		SameSite: http.SameSiteLaxMode,
	}
}

// presented returns the token of a request. A missing one counts as malformed.
func presented(r *http.Request) sessionsql.Token {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return sessionsql.Token(c.Value)
}

// loggedIn is lookup for pages without anonymous visitors.
func (s *site) loggedIn(
	ctx context.Context, token sessionsql.Token,
) (session sessionsql.Session, v visitor, err error) {
	session, v, err = s.lookup(ctx, token)
	if err == nil && v.Name == "" {
		err = sessionsql.ErrNoSession
	}
	return session, v, err
}

func (s *site) lookup(
	ctx context.Context, token sessionsql.Token,
) (session sessionsql.Session, v visitor, err error) {
	begin := time.Now()
	session, err = s.store.Lookup(ctx, token)
	if err != nil {
		return session, v, err
	}
	s.lookups.add(time.Since(begin))
	err = json.Unmarshal([]byte(session.Payload), &v)
	return session, v, err
}

func (s *site) save(ctx context.Context, token sessionsql.Token, v visitor, version int32) (int32, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	return s.store.Update(ctx, token, string(payload), version)
}

// fail tells a visitor to log in or to come back later.
func (s *site) fail(w http.ResponseWriter, err error) {
	if isDeadlock(err) {
		s.deadlocks.Add(1)
	}
	if errors.Is(err, sessionsql.ErrNoSession) {
		s.show(w, http.StatusUnauthorized, loginPage, "Please log in.")
		return
	}
	s.errors.Add(1)
	switch {
	case errors.Is(err, sessionsql.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err,
		context.Canceled):
		http.Error(w, "The database does not answer; please try again in a moment.",
			http.StatusServiceUnavailable)
	default:
		http.Error(w, "Something went wrong here.", http.StatusInternalServerError)
	}
}

func isDeadlock(err error) bool {
	var server *sessionsql.Error
	return errors.As(err, &server) && server.SQLState == "40P01"
}
