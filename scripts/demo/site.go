package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

// A site is a web site like an application's. All of its knowledge of a visitor is in the session.
type site struct {
	sessions *web.Sessions[visitor]
	rules    rules
	lookups  samples // the durations of lookups that found a session

	deadlocks atomic.Int64 // deadlocks that reached the application
	requests  atomic.Int64
	errors    atomic.Int64 // the requests with a 5xx answer

	monitor http.Handler // of /status; nil without one
}

// A visitor is the content of a session.
type visitor struct {
	Views  int
	Recent []string // the times of the last views, newest first
}

const (
	requestTimeout = 10 * time.Second
	maxRecent      = 6
	maxName        = 64
)

func newSite(store *sessionsql.Store, rules rules) *site {
	sessions, _ := web.New[visitor](store, &web.Options{PlainHTTP: true}) // it fails only for a bad name
	return &site{sessions: sessions, rules: rules}
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.answering(s.home))
	mux.HandleFunc("GET /account", s.answering(s.account))
	mux.HandleFunc("GET /login", s.answering(s.welcome))
	mux.HandleFunc("POST /login", s.answering(s.logIn))
	mux.HandleFunc("POST /logout", s.answering(s.logOut))
	visits := s.sessions.Wrap(mux)
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, 4096)
		visits.ServeHTTP(w, r.WithContext(ctx))
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
		Handler: s.handler(),
		// It is long, because browsers open connections ahead of their requests, and do not send a form again
		// that meets the end of one.
		ReadHeaderTimeout: time.Minute,
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

// home counts its views. Save counts again on the newer value if another tab was faster.
func (s *site) home(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.load(r.Context()); err != nil {
		return err
	}
	session, err := s.sessions.Save(r.Context(), func(v *visitor) error {
		v.Views++
		v.Recent = append([]string{time.Now().Format(time.TimeOnly)},
			v.Recent[:min(len(v.Recent), maxRecent-1)]...)
		return nil
	})
	if err != nil {
		return err
	}
	return show(w, http.StatusOK, homePage, session)
}

// account only reads, so the lookup keeps the session alive.
func (s *site) account(w http.ResponseWriter, r *http.Request) error {
	session, err := s.load(r.Context())
	if err != nil {
		return err
	}
	return show(w, http.StatusOK, accountPage, session)
}

// load is for pages without anonymous visitors.
func (s *site) load(ctx context.Context) (web.Session[visitor], error) {
	begin := time.Now()
	session, err := s.sessions.LoadUser(ctx)
	if err == nil {
		s.lookups.add(time.Since(begin))
	}
	return session, err
}

// welcome gives a visitor without a session an anonymous one, as sites do for a shopping cart.
func (s *site) welcome(w http.ResponseWriter, r *http.Request) error {
	_, err := s.sessions.Load(r.Context())
	if errors.Is(err, sessionsql.ErrNoSession) {
		_, err = s.sessions.Save(r.Context(), nil)
	}
	if err != nil {
		return err
	}
	return show(w, http.StatusOK, loginPage, nil)
}

func (s *site) logIn(w http.ResponseWriter, r *http.Request) error {
	name := r.PostFormValue("name")
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return show(w, http.StatusBadRequest, loginPage, "A name has between 1 and 64 bytes.")
	}
	login := web.Login{InsertOptions: sessionsql.InsertOptions{Subject: name}}
	if r.PostFormValue("public") != "" {
		login.Lifetime = s.rules.lifetime
	}
	_, err := s.sessions.LogIn(r.Context(), login, func(v *visitor) error {
		*v = visitor{} // because each login counts its own views
		return nil
	})
	if err == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	return err
}

// logOut answers after the session is dead for good.
func (s *site) logOut(w http.ResponseWriter, r *http.Request) error {
	err := s.sessions.LogOut(r.Context())
	if err == nil {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	}
	return err
}

// answering returns a page's handler. It answers an error by asking the visitor to log in or to come back
// later.
func (s *site) answering(page func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := page(w, r)
		if isDeadlock(err) {
			s.deadlocks.Add(1)
		}
		status := web.Status(err)
		switch status {
		case http.StatusOK:
			return
		case http.StatusUnauthorized:
			_ = show(w, status, loginPage, "Please log in.") // this page takes any text
			return
		}
		s.errors.Add(1)
		text := "Something went wrong here."
		if status == http.StatusServiceUnavailable {
			text = "The database does not answer; please try again in a moment."
		}
		http.Error(w, text, status)
	}
}

func isDeadlock(err error) bool {
	var server *sessionsql.Error
	return errors.As(err, &server) && server.SQLState == "40P01"
}
