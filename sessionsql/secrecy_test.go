package sessionsql_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/db/native"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/sessionsql"
)

// A needle is one spelling of something that must not leave the program.
type needle struct{ text, what string }

// tokenNeedles are the ways in which a token, or its secret, could stand in a text.
func tokenNeedles(token sessionsql.Token) []needle {
	raw, err := base64.RawURLEncoding.DecodeString(string(token))
	if err != nil || len(raw) != 24 {
		return []needle{{string(token), "malformed token"}}
	}
	secret := raw[8:]
	var escaped strings.Builder // bytea's other output format
	for _, b := range secret {
		switch {
		case b == '\\':
			escaped.WriteString(`\\`)
		case b < 32 || b > 126:
			fmt.Fprintf(&escaped, `\%03o`, b)
		default:
			escaped.WriteByte(b)
		}
	}
	return []needle{
		{string(token[11:]), "token"}, // the rest is the id
		{base64.StdEncoding.EncodeToString(raw)[11:], "token in standard base64"},
		{string(secret), "raw secret"},
		{hex.EncodeToString(secret), "secret in hex"}, // also \x...
		{strings.ToUpper(hex.EncodeToString(secret)), "secret in upper-case hex"},
		{base64.RawStdEncoding.EncodeToString(secret), "secret in base64"},
		{base64.RawURLEncoding.EncodeToString(secret), "secret in base64url"},
		{escaped.String(), "secret as escaped bytea"},
		{strings.Trim(strconv.Quote(string(secret)), `"`), "quoted secret"},
		{strings.Trim(fmt.Sprint(secret), "[]"), "secret as numbers"},
		{
			strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}"),
			"secret as Go bytes",
		},
		{hex.EncodeToString([]byte(token[11:])), "hex of the token's text"},
	}
}

// canaryText is in every payload of these tests, and nowhere else.
const canaryText = "Zq9CanaryPayload"

func payloadNeedles() []needle {
	return []needle{
		{canaryText, "payload"},
		{hex.EncodeToString([]byte(canaryText)), "payload in hex"},
		{strings.ToUpper(hex.EncodeToString([]byte(canaryText))), "payload in upper-case hex"},
		{base64.StdEncoding.EncodeToString([]byte(canaryText))[:20], "payload in base64"},
		{strings.Trim(fmt.Sprint([]byte(canaryText)), "[]"), "payload as numbers"},
	}
}

// A haystack finds many needles of at least 8 bytes in one pass over a text.
type haystack struct {
	begins  map[uint64][]needle
	maybe   [1 << 16]bool
	needles int
}

func (h *haystack) add(needles ...needle) {
	if h.begins == nil {
		h.begins = map[uint64][]needle{}
	}
	for _, n := range needles {
		begin := binary.LittleEndian.Uint64([]byte(n.text))
		h.begins[begin] = append(h.begins[begin], n)
		h.maybe[begin*0x9E3779B97F4A7C15>>48] = true
		h.needles++
	}
}

// find returns what stands in a text, each kind once, with what surrounds it.
func (h *haystack) find(text string) map[string]string {
	found := map[string]string{}
	var begin uint64 // the 8 bytes from i on
	for last := range len(text) {
		begin = begin>>8 | uint64(text[last])<<56
		if !h.maybe[begin*0x9E3779B97F4A7C15>>48] {
			continue
		}
		i := max(0, last-7)
		for _, n := range h.begins[begin] {
			if _, known := found[n.what]; !known && strings.HasPrefix(text[i:], n.text) {
				found[n.what] = text[max(0, i-300):min(len(text), i+len(n.text)+100)]
			}
		}
	}
	return found
}

// A secrecy collects what a workload made, and everything that it left where somebody could read it.
type secrecy struct {
	t       *testing.T
	d       *database
	random  *rand.Rand
	mu      sync.Mutex
	tokens  []sessionsql.Token
	errs    []error
	printed strings.Builder // of types and errors
	seen    strings.Builder // pg_stat_activity
	log     logBuffer
	made    int
}

func (w *secrecy) keep(token sessionsql.Token, err error) sessionsql.Token {
	w.mu.Lock()
	defer w.mu.Unlock()
	if token != "" {
		w.tokens = append(w.tokens, token)
	}
	if err != nil {
		w.errs = append(w.errs, err)
	}
	return token
}

func (w *secrecy) failed(err error) { w.keep("", err) }

// payload is one that no other session has.
func (w *secrecy) payload() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	return fmt.Sprintf(`{"%s": %d}`, canaryText, w.made)
}

func (w *secrecy) options() *sessionsql.Options {
	logger := slog.New(slog.NewJSONHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &sessionsql.Options{FlushInterval: -1, ReapInterval: -1, Logger: logger, MaxPayloadBytes: 5_000}
}

func (w *secrecy) open(settings string, options *sessionsql.Options) *sessionsql.Store {
	w.t.Helper()
	store, err := sessionsql.Open(w.t.Context(), w.d.PrimaryDSN()+settings, nil, options)
	must(w.t, err)
	return store
}

// verbs is every verb of a Store that was opened with these settings.
func (w *secrecy) verbs(
	store *sessionsql.Store, settings string,
) map[string]func(context.Context, sessionsql.Token) error {
	w.t.Helper()
	pool := open(w.t, w.d.PrimaryDSN()+settings)
	return map[string]func(context.Context, sessionsql.Token) error{
		"Insert": func(ctx context.Context, _ sessionsql.Token) error {
			token, err := store.Insert(ctx, w.payload(), nil)
			w.keep(token, nil)
			return err
		},
		"Insert with a cap": func(ctx context.Context, _ sessionsql.Token) error {
			token, err := store.Insert(ctx, w.payload(),
				&sessionsql.InsertOptions{Subject: "ann", MaxSessions: 50})
			w.keep(token, nil)
			return err
		},
		"Lookup": func(ctx context.Context, token sessionsql.Token) error {
			sess, err := store.Lookup(ctx, token)
			w.print(sess)
			return err
		},
		"Touch": store.Touch,
		"Update": func(ctx context.Context, token sessionsql.Token) error {
			_, err := store.Update(ctx, token, w.payload(), sessionsql.AnyVersion)
			return err
		},
		"Rotate": func(ctx context.Context, token sessionsql.Token) error {
			renewed, err := store.Rotate(ctx, token, &sessionsql.RotateOptions{Grace: time.Hour})
			w.keep(renewed, nil)
			return err
		},
		"ListSubject": func(ctx context.Context, _ sessionsql.Token) error {
			list, err := store.ListSubject(ctx, "ann", "")
			w.print(list)
			return err
		},
		"RevokeSubject": func(ctx context.Context, token sessionsql.Token) error {
			_, err := store.RevokeSubject(ctx, "bob", token)
			return err
		},
		"Revoke": store.Revoke,
		"Flush":  func(ctx context.Context, _ sessionsql.Token) error { return store.Flush(ctx) },
		"Reap": func(ctx context.Context, _ sessionsql.Token) error {
			_,
				err := store.Reap(ctx)
			return err
		},
		"Version": func(ctx context.Context, _ sessionsql.Token) error {
			_,
				err := store.Version(ctx)
			return err
		},
		"InsertTx": func(ctx context.Context, _ sessionsql.Token) error {
			tx, err := pool.BeginTxx(ctx, nil)
			if err != nil {
				return nil // the application's own
			}
			defer func() { _ = tx.Rollback() }()
			token, err := store.InsertTx(ctx, tx, w.payload(), nil)
			w.keep(token, nil)
			return err
		},
	}
}

// print formats a value in every way that Go has.
func (w *secrecy) print(value any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"}
	if _, pointers := value.(*sessionsql.Store); pointers {
		verbs = verbs[:3] // a verb that does not fit a pointer follows it, into pools that are at work
	}
	for _, verb := range verbs {
		fmt.Fprintf(&w.printed, verb+"\n", value)
	}
	handlers := []slog.Handler{slog.NewTextHandler(&w.printed, nil)}
	if kind := strings.TrimPrefix(fmt.Sprintf("%T", value), "*"); !strings.HasPrefix(kind, "db.") &&
		!strings.HasPrefix(kind, "native.") {
		// Those are parameters and rows, which no Store logs.
		// which marshals instead of formatting
		handlers = append(handlers, slog.NewJSONHandler(&w.printed, nil))
	}
	for _, handler := range handlers {
		slog.New(handler).Info("value", slog.Any("value", value))
	}
}

// printError formats an error and all that it wraps.
func (w *secrecy) printError(err error) {
	if err == nil {
		return
	}
	w.print(err)
	w.print(err.Error())
	switch wrapping := err.(type) {
	case interface{ Unwrap() error }:
		w.printError(wrapping.Unwrap())
	case interface{ Unwrap() []error }:
		for _, each := range wrapping.Unwrap() {
			w.printError(each)
		}
	}
}

// session makes one for a verb to work on.
func (w *secrecy) session(store *sessionsql.Store, subject string) sessionsql.Token {
	w.t.Helper()
	return w.keep(mustInsert(w.t, store, w.payload(), &sessionsql.InsertOptions{Subject: subject}), nil)
}

// forge keeps a token with a secret that is wrong in one bit, and so opens nothing; it must not be seen
// either.
func (w *secrecy) forge(good sessionsql.Token) sessionsql.Token {
	w.t.Helper()
	raw := raw(w.t, good)
	raw[8+w.random.IntN(16)] ^= 1 << w.random.IntN(8)
	return w.keep(sessionsql.Token(base64.RawURLEncoding.EncodeToString(raw)), nil)
}

// workload runs every verb under one exec mode, well and with every kind of failure.
func (w *secrecy) workload(mode string) {
	t, ctx := w.t, w.t.Context()
	settings := "&default_query_exec_mode=" + mode
	store := w.open(settings, w.options())
	verbs := w.verbs(store, settings)

	// All goes well, in shared round trips too.
	var wait sync.WaitGroup
	for range 4 {
		for name, verb := range verbs {
			token := w.session(store, "bob")
			wait.Go(func() { // RevokeSubject may end the others'
				if err := verb(ctx, token); err != nil && !errors.Is(err, sessionsql.ErrNoSession) {
					t.Errorf("%s, %s: %v", mode, name, err)
				}
			})
		}
	}
	wait.Wait()

	// Tokens that open nothing, and versions that are past.
	good := w.session(store, "ann")
	for range 3 {
		for _, token := range []sessionsql.Token{w.forge(good), malformed(w.random, good, nil)} {
			for name, verb := range verbs {
				if name == "RevokeSubject" && token == "" {
					continue
				}
				w.failed(verb(ctx, token))
			}
		}
	}
	mustUpdate(t, store, good, w.payload(), 1)
	_, err := store.Update(ctx, good, w.payload(), 1)
	w.failed(err)
	renewed := w.keep(mustRotate(t, store, good, nil), nil)
	w.keep(store.Rotate(ctx, good, nil))

	// Payloads and options that are refused here, by the server, or by a constraint that somebody added to
	// the table.
	twin := w.payload()
	w.keep(mustInsert(t, store, twin, nil), nil)
	for i := range 8 {
		own := w.session(store, "ann")
		payload := []string{twin, canaryText + strings.Repeat("x", 3_001), w.payload()}[i%3]
		wait.Go(func() {
			if _, err := store.Update(ctx, own, payload, sessionsql.AnyVersion); err != nil {
				w.failed(err)
			}
		})
		wait.Go(func() { w.keep(store.Insert(ctx, twin, nil)) })
		wait.Go(func() { w.keep(store.Insert(ctx, canaryText+strings.Repeat("x", 3_001), nil)) })
		wait.Go(func() { w.keep(store.Insert(ctx, w.payload(), nil)) })
	}
	wait.Wait()
	for _, payload := range []string{
		twin, canaryText + strings.Repeat("x", 3_001),
		canaryText + strings.Repeat("x", 5_001), canaryText + "\x00", canaryText + "\xff",
	} {
		w.keep(store.Insert(ctx, payload, nil))
		_, err := store.Update(ctx, renewed, payload, sessionsql.AnyVersion)
		w.failed(err)
		tx := w.d.primary.MustBegin()
		w.keep(store.InsertTx(ctx, tx, payload, nil))
		w.keep(store.InsertTx(ctx, tx, payload, nil)) // in a transaction that has failed
		must(t, tx.Rollback())
		w.keep(store.InsertTx(ctx, tx, payload, nil)) // in one that has ended
	}

	// A lock that nobody gets: cancelled, timed out, and killed.
	impatient := w.open(settings+"&statement_timeout=25", w.options())
	blocker := w.d.primary.MustBegin()
	blocker.MustExec("LOCK TABLE sessionsql.session IN ACCESS EXCLUSIVE MODE")
	run := func(verbs map[string]func(context.Context, sessionsql.Token) error,
		ctx context.Context,
	) <-chan struct{} {
		var calls sync.WaitGroup
		for _, verb := range verbs {
			calls.Go(func() { w.failed(verb(ctx, renewed)) })
		}
		done := make(chan struct{})
		go func() { calls.Wait(); close(done) }()
		return done
	}
	waiting := func() []int {
		var pids []int
		must(t, w.d.primary.Select(&pids, `SELECT pid FROM pg_stat_activity
			WHERE datname = $1 AND wait_event_type = 'Lock' AND application_name <> 'test'`, w.d.Name))
		w.seen.WriteString(get[string](t, w.d.primary,
			"SELECT COALESCE(string_agg(query, E'\n'), '') FROM pg_stat_activity"))
		return pids
	}
	<-run(w.verbs(impatient, settings+"&statement_timeout=25"), ctx)
	cancelled, cancel := context.WithCancel(ctx)
	done := run(verbs, cancelled)
	eventually(t, "calls wait", func() bool { return len(waiting()) >= 5 })
	cancel()
	<-done
	done = run(verbs, ctx)
	eventually(t, "calls wait", func() bool { return len(waiting()) >= 5 })
	eventually(t, "calls are killed", func() bool {
		for _, pid := range waiting() {
			w.d.primary.MustExec("SELECT pg_terminate_backend($1)", pid)
		}
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	must(t, blocker.Rollback())
	must(t, impatient.Close(ctx))

	// A primary that takes no writes, and a bundle that lacks a function, with the loops running.
	demoted := w.open(settings+"&default_transaction_read_only=on", w.options())
	<-run(w.verbs(demoted, settings+"&default_transaction_read_only=on"), ctx)
	_ = demoted.Close(ctx)
	options := w.options()
	options.FlushInterval, options.ReapInterval = 5*time.Millisecond, 5*time.Millisecond
	looping := w.open(settings, options)
	live := w.session(looping, "ann")
	for _, signature := range []string{"touch_batch(bigint[], boolean)", "reap(integer, integer, boolean)"} {
		name, _, _ := strings.Cut(signature, "(")
		w.d.primary.MustExec("ALTER FUNCTION sessionsql." + signature + " RENAME TO hidden")
		eventually(t, "a loop fails", func() bool {
			w.failed(looping.Touch(ctx, live))
			stats := looping.Stats()
			return name == "reap" && stats.ReapErrors > 0 || name == "touch_batch" && stats.FlushErrors > 0
		})
		w.d.primary.MustExec("ALTER FUNCTION sessionsql.hidden" + strings.TrimPrefix(signature, name) +
			" RENAME TO " + name)
	}
	must(t, looping.Close(ctx))
	w.print(looping.Stats())
	w.print(looping)
	must(t, store.Close(ctx))
	for _, verb := range verbs {
		w.failed(verb(ctx, renewed))
	}
	w.print(store)
}

// sqlTokens runs the functions for clients that have only SQL, which take tokens, as their comments say to:
// as parameters, with parameters kept out of the log.
func (w *secrecy) sqlTokens(mode string, settings string) {
	t := w.t
	pool := open(t, w.d.PrimaryDSN()+"&default_query_exec_mode="+mode+settings)
	token := sessionsql.Token(get[string](t, pool, "SELECT sessionsql.new_session($1)", w.payload()))
	w.keep(token, nil)
	for _, each := range []sessionsql.Token{token, w.forge(token), token[:31], "'" + token} {
		get[int](t, pool, "SELECT count(*) FROM sessionsql.find_session($1)", string(each))
	}
	get[bool](t, pool, "SELECT sessionsql.token_id($1) IS NULL OR sessionsql.token_hash($1) IS NULL",
		string(token))
	get[bool](t, pool, "SELECT sessionsql.end_session($1)", string(token))
	w.seen.WriteString(get[string](t, w.d.primary, "SELECT string_agg(query, E'\n') FROM pg_stat_activity"))
}

// exported are the exported types that hold anything; the test fails when one is missing here.
var exported = map[string][]any{
	"../db": {
		db.Queries{},
		db.Health{},
		db.ListedSession{},
		db.LiveSession{},
		db.NewSessionID{},
		db.PayloadVersion{},
		db.Node{},
		db.ReapResult{},
		db.InsertParams{},
		db.InsertBatchParams{},
		db.InsertLabelledParams{},
		db.InsertBatchLabelledParams{},
		db.LookupParams{},
		db.LookupBatchParams{},
		db.ReapParams{},
		db.RevokeParams{},
		db.RevokeListedParams{},
		db.RevokeSubjectParams{},
		db.RotateParams{},
		db.RotateCappedParams{},
		db.UpdatePayloadParams{},
		db.UpdatePayloadBatchParams{},
	},
	"../db/native": {
		native.Queries{},
		native.LiveSession{},
		native.LookupBatchParams{},
		native.TimelineRow{},
	},
	".": {
		sessionsql.Session{},
		sessionsql.SubjectSession{},
		sessionsql.InsertOptions{},
		sessionsql.RotateOptions{},
		sessionsql.ErrorKey{},
		sessionsql.Health{},
		sessionsql.Options{},
		sessionsql.Stats{},
		sessionsql.ServerStats{},
		sessionsql.Error{},
		sessionsql.PayloadError{},
		sessionsql.VersionError{},
		sessionsql.ReapResult{},
		reflect.TypeFor[sessionsql.Store](), // printed by the workload
	},
}

// printTypes prints a value of each exported type, with a payload wherever its fields have room for one.
func (w *secrecy) printTypes() {
	t := w.t
	for folder, values := range exported {
		known := map[string]bool{}
		for _, value := range values {
			if kind, ok := value.(reflect.Type); ok {
				known[kind.Name()] = true
				continue
			}
			known[reflect.TypeOf(value).Name()] = true
			filled := reflect.New(reflect.TypeOf(value))
			fillPayloads(filled.Elem(), "")
			w.print(filled.Interface())
			w.print(filled.Elem().Interface())
		}
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		must(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			must(t, err)
			for _, object := range file.Scope.Objects { //nolint:staticcheck // no types are needed here
				if spec, ok := object.Decl.(*ast.TypeSpec); ok && spec.Name.IsExported() {
					if _, isStruct := spec.Type.(*ast.StructType); isStruct && !known[spec.Name.Name] {
						t.Errorf("%s: the type %s is not printed by this test", name, spec.Name.Name)
					}
				}
			}
		}
	}
	for _, each := range w.tokens[:20] {
		w.print(each)
		w.print(&each)
		w.print([]sessionsql.Token{each})
		w.print(map[string]any{"token": each})
		w.print(struct{ Token sessionsql.Token }{each})
	}
}

func fillPayloads(v reflect.Value, name string) {
	switch {
	case v.Kind() == reflect.String && strings.Contains(name, "Payload"):
		v.SetString(canaryText)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String &&
		strings.Contains(name, "Payload"):
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		v.Index(0).SetString(canaryText)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				fillPayloads(v.Field(i), field.Name)
			}
		}
	}
}

var loudest = map[string]string{
	"log_statement": "all", "log_min_duration_statement": "0", "log_duration": "on", "log_parameter_max_length": "-1",
	"log_error_verbosity": "verbose", "log_lock_waits": "on", "deadlock_timeout": "100ms", "log_connections": "on",
	"track_activity_query_size": "100000", "fsync": "off", "autovacuum": "off",
}

// loudCluster is a server that logs all that it can; explains says whether it has PostgreSQL's contrib
// modules.
func loudCluster(t *testing.T) (cluster *pgcluster.Cluster, explains bool) {
	t.Helper()
	settings := map[string]string{
		"shared_preload_libraries":           "auto_explain,pg_stat_statements",
		"auto_explain.log_min_duration":      "0",
		"auto_explain.log_analyze":           "on",
		"auto_explain.log_nested_statements": "on",
		"auto_explain.log_verbose":           "on",
		"pg_stat_statements.track":           "all",
	}
	for name, value := range loudest {
		settings[name] = value
	}
	cluster, err := pgcluster.Start(t.Context(), &pgcluster.Options{Settings: settings})
	explains = err == nil
	if err != nil && strings.Contains(err.Error(), "could not access file") {
		t.Log("this server has no contrib modules: without auto_explain and pg_stat_statements")
		cluster, err = pgcluster.Start(t.Context(), &pgcluster.Options{Settings: loudest})
	}
	must(t, err)
	t.Cleanup(func() { must(t, cluster.Close()) })
	return cluster, explains
}

func (w *secrecy) serverLog() string {
	w.t.Helper()
	return readFile(w.t, w.d.Cluster.Primary.LogPath())
}

func TestNoSecretLeavesTheProgram(t *testing.T) {
	cluster, explains := loudCluster(t)
	d := newDatabaseIn(t, cluster)
	w := &secrecy{t: t, d: d, random: seeded(t)}
	d.primary.MustExec("CREATE UNIQUE INDEX forced ON sessionsql.session (md5(payload))")
	d.primary.MustExec("ALTER TABLE sessionsql.session ADD CONSTRAINT forced CHECK (length(payload) <= 3000)")
	if explains {
		d.primary.MustExec("CREATE EXTENSION pg_stat_statements")
	}
	quietParameters := "&log_parameter_max_length=0"
	if explains && get[int](t, d.primary, "SELECT current_setting('server_version_num')::integer") >= 160000 {
		quietParameters += "&auto_explain.log_parameter_max_length=0"
	}

	modes := []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}
	for _, mode := range modes {
		w.workload(mode)
		if mode != "simple_protocol" { // it writes parameters into the text of the statement
			w.sqlTokens(mode, quietParameters)
		}
	}
	_, err := sessionsql.Open(t.Context(),
		"postgres://u:"+canaryText+"@127.0.0.1:1/d?sslmode=disable&connect_timeout=1", nil, nil)
	w.failed(err)
	_, err = sessionsql.Open(t.Context(), "postgres://u:"+canaryText+"@127.0.0.1:x/d", nil, nil)
	w.failed(err)
	w.printTypes()
	kinds := map[string]int{}
	for _, err := range w.errs {
		w.printError(err)
		var failed *sessionsql.Error
		if errors.As(err, &failed) {
			kinds[failed.SQLState]++
		} else {
			kinds[fmt.Sprintf("%T", err)]++
		}
	}
	t.Logf("%d tokens, %d errors: %v", len(w.tokens), len(w.errs), kinds)
	for _, state := range []string{"23505", "23514", "25006", "57014", "57P01", "*sessionsql.PayloadError"} {
		if kinds[state] == 0 {
			t.Errorf("no error of the kind %s was forced", state)
		}
	}

	d.primary.MustExec("ANALYZE")
	statistics := get[string](t, d.primary,
		"SELECT COALESCE(string_agg(s::text, E'\n'), '') FROM pg_stats AS s WHERE schemaname = 'sessionsql'")
	if explains {
		w.seen.WriteString(get[string](t, d.primary,
			"SELECT string_agg(query, E'\n') FROM pg_stat_statements"))
	}
	var secrets, payloads haystack
	for _, token := range w.tokens {
		secrets.add(tokenNeedles(token)...)
	}
	payloads.add(payloadNeedles()...)
	server := w.serverLog()
	t.Logf("searched %d kB of server log, %d of printed values, %d of what the server shows, %d of the program's log, for %d spellings",
		len(server)>>10, w.printed.Len()>>10, w.seen.Len()>>10, len(w.log.String())>>10, secrets.needles)
	places := map[string]string{
		"printed values and errors": w.printed.String(), "the program's log": w.log.String(), "the server's log": server,
		"pg_stat_activity and pg_stat_statements": w.seen.String(), "statistics": statistics,
	}
	for place, text := range places {
		if len(text) == 0 {
			t.Errorf("%s is empty: nothing was searched", place)
		}
		for what, around := range secrets.find(text) {
			t.Errorf("%s: %s: %q", place, what, around)
		}
	}
	for _, place := range []string{"printed values and errors", "the program's log", "statistics"} {
		for what, around := range payloads.find(places[place]) {
			t.Errorf("%s: %s: %q", place, what, around)
		}
	}
	// That this server logs parameters shows in the payloads, which are parameters: an operator's choice.
	if len(payloads.find(server)) == 0 {
		t.Error("no payload in the server's log: it was not as loud as this test wants it")
	}

	// The search can fail: every spelling is found where it is, and the server's log is where this server
	// logs.
	control := w.tokens[0]
	for _, n := range tokenNeedles(control) {
		if _, found := secrets.find(server[:1000] + n.text + server[1000:2000])[n.what]; !found {
			t.Errorf("the search does not find a %s", n.what)
		}
	}
	d.primary.MustExec(fmt.Sprintf("DO $$ BEGIN RAISE LOG 'control %%', '%s'; END $$", string(control)))
	if _, found := secrets.find(w.serverLog())["token"]; !found {
		t.Error("the search does not find a token that was logged")
	}

	// With the settings that the README tells an operator, payloads stay out of the server's log as well.
	// a failed CHECK prints the row under any settings
	d.primary.MustExec("ALTER TABLE sessionsql.session DROP CONSTRAINT forced")
	silence := []string{"log_parameter_max_length = 0", "log_parameter_max_length_on_error = 0"}
	if explains {
		silence = append(silence, "auto_explain.log_verbose = off")
		if strings.Contains(quietParameters, "auto_explain") {
			silence = append(silence, "auto_explain.log_parameter_max_length = 0")
		}
	}
	for _, setting := range silence {
		d.primary.MustExec("ALTER SYSTEM SET " + setting)
	}
	d.primary.MustExec("SELECT pg_reload_conf()")
	eventually(t, "the settings are in force", func() bool {
		return get[string](t, d.primary, "SHOW log_parameter_max_length") == "0"
	})
	begin := len(w.serverLog())
	for _, mode := range modes[:4] {
		w.workload(mode)
		w.sqlTokens(mode, "")
	}
	for _, token := range w.tokens {
		secrets.add(tokenNeedles(token)...)
	}
	quieted := w.serverLog()[begin:]
	for what, around := range payloads.find(quieted) {
		t.Errorf("the server's log, with the settings of the README: %s: %q", what, around)
	}
	for what, around := range secrets.find(quieted) {
		t.Errorf("the server's log, with the settings of the README: %s: %q", what, around)
	}
}
