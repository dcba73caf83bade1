package sessionsql_test

import (
	"context"
	"database/sql"
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
	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/sessionsql"
)

// A needle is one spelling of a secret.
type needle struct{ text, what string }

// tokenNeedles returns every spelling of a token or its secret.
func tokenNeedles(token sessionsql.Token) []needle {
	raw, err := base64.RawURLEncoding.DecodeString(string(token))
	if err != nil || len(raw) != 24 {
		return []needle{{string(token), "malformed token"}}
	}
	secret := raw[8:]
	var escaped strings.Builder // bytea's escape format
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
		{string(token[11:]), "token"}, // the first characters hold the id
		{base64.StdEncoding.EncodeToString(raw)[11:], "token in standard base64"},
		{string(secret), "raw secret"},
		{hex.EncodeToString(secret), "secret in hex"}, // also within \x...
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

// canaryText is in every payload of these tests and nowhere else.
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

// find returns the kinds of needles in a text, each with the text around it.
func (h *haystack) find(text string) map[string]string {
	found := map[string]string{}
	var begin uint64 // the 8 bytes that start at i
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

// A secrecy keeps the secrets of a workload, and every text that the workload left.
type secrecy struct {
	t       *testing.T
	d       *database
	random  *rand.Rand
	mu      sync.Mutex
	tokens  []sessionsql.Token
	errs    []error
	printed strings.Builder // values and errors in every format
	seen    strings.Builder // the statements that pg_stat_activity showed
	log     logBuffer
	made    int

	explains        bool // the server has auto_explain and pg_stat_statements
	limitsExplained bool // auto_explain knows log_parameter_max_length, which came with version 16
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

// payload returns a payload that no other session has.
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

// A verb is one call of a Store that gets a token.
type verb func(ctx context.Context, token sessionsql.Token) error

// verbs are all calls of a Store that was opened with these settings.
func (w *secrecy) verbs(store *sessionsql.Store, settings string) map[string]verb {
	w.t.Helper()
	pool := open(w.t, w.d.PrimaryDSN()+settings)
	insert := func(ctx context.Context, own *sessionsql.InsertOptions) error {
		token, err := store.Insert(ctx, w.payload(), own)
		w.keep(token, nil)
		return err
	}
	verbs := map[string]verb{
		"Insert": func(ctx context.Context, _ sessionsql.Token) error { return insert(ctx, nil) },
		"Insert with a cap": func(ctx context.Context, _ sessionsql.Token) error {
			return insert(ctx, &sessionsql.InsertOptions{Subject: "ann", MaxSessions: 50})
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
			_, err := store.Reap(ctx)
			return err
		},
		"Version": func(ctx context.Context, _ sessionsql.Token) error {
			_, err := store.Version(ctx)
			return err
		},
		"InsertTx": func(ctx context.Context, _ sessionsql.Token) error {
			tx, err := pool.BeginTxx(ctx, nil)
			if err != nil {
				return nil // it is an error of the application's pool
			}
			defer func() { _ = tx.Rollback() }()
			token, err := store.InsertTx(ctx, tx, w.payload(), nil)
			w.keep(token, nil)
			return err
		},
	}
	// A token is the key of a cache entry, as the session id of a framework is.
	cache := store.Cache("c", &sessionsql.CacheOptions{Final: true})
	for name := range keyCalls(cache, "", "") {
		verbs["Cache."+name] = func(ctx context.Context, token sessionsql.Token) error {
			return keyCalls(cache, string(token), w.payload())[name](ctx)
		}
	}
	verbs["Cache.Get"] = func(ctx context.Context, token sessionsql.Token) error {
		entry, err := cache.Get(ctx, string(token))
		w.print(entry)
		return err
	}
	verbs["Cache.Touch"] = func(ctx context.Context, token sessionsql.Token) error {
		return cache.Touch(ctx, string(token), time.Hour)
	}
	w.print(cache)
	w.print(sessionsql.JSON[string](cache))
	return verbs
}

// print formats a value in every way that Go has.
func (w *secrecy) print(value any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"}
	if _, pointers := value.(*sessionsql.Store); pointers {
		verbs = verbs[:3] // fmt follows a pointer under other verbs, into pools that are at work
	}
	for _, verb := range verbs {
		fmt.Fprintf(&w.printed, verb+"\n", value)
	}
	handlers := []slog.Handler{slog.NewTextHandler(&w.printed, nil)}
	kind := strings.TrimPrefix(fmt.Sprintf("%T", value), "*")
	// A JSONHandler marshals the value. No Store logs the parameters and rows of the packages db and native.
	if !strings.HasPrefix(kind, "db.") && !strings.HasPrefix(kind, "native.") {
		handlers = append(handlers, slog.NewJSONHandler(&w.printed, nil))
	}
	for _, handler := range handlers {
		slog.New(handler).Info("value", slog.Any("value", value))
	}
}

// printError prints an error and every error that it wraps.
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

// session makes a session of a subject.
func (w *secrecy) session(store *sessionsql.Store, subject string) sessionsql.Token {
	w.t.Helper()
	own := &sessionsql.InsertOptions{Subject: subject}
	return w.keep(mustInsert(w.t, store, w.payload(), own), nil)
}

// forge returns a token with one wrong bit in its secret. The texts must not hold it either.
func (w *secrecy) forge(good sessionsql.Token) sessionsql.Token {
	w.t.Helper()
	raw := raw(w.t, good)
	raw[8+w.random.IntN(16)] ^= 1 << w.random.IntN(8)
	return w.keep(sessionsql.Token(base64.RawURLEncoding.EncodeToString(raw)), nil)
}

// workload runs every verb under one exec mode, with and without every kind of failure.
func (w *secrecy) workload(mode string) {
	w.t.Logf("exec mode %s", mode)
	settings := "&default_query_exec_mode=" + mode
	store := w.open(settings, w.options())
	verbs := w.verbs(store, settings)
	w.succeed(store, verbs)
	good := w.session(store, "ann")
	w.presentWrongTokens(good, verbs)
	renewed := w.presentOldVersions(store, good)
	w.refusePayloads(store, renewed)
	w.meetLock(settings, verbs, renewed)
	w.meetReadOnlyPrimary(settings, renewed)
	w.failLoops(settings)
	must(w.t, store.Close(w.t.Context()))
	for _, verb := range verbs {
		w.failed(verb(w.t.Context(), renewed))
	}
	w.print(store)
}

// succeed runs every verb several times at once, so that some share round trips.
func (w *secrecy) succeed(store *sessionsql.Store, verbs map[string]verb) {
	var wait sync.WaitGroup
	for range 4 {
		for name, verb := range verbs {
			token := w.session(store, "bob")
			wait.Go(func() { // a RevokeSubject may end the sessions of the other calls
				if err := verb(w.t.Context(), token); err != nil && !errors.Is(err, sql.ErrNoRows) {
					w.t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	wait.Wait()
}

// presentWrongTokens calls every verb with tokens that open nothing.
func (w *secrecy) presentWrongTokens(good sessionsql.Token, verbs map[string]verb) {
	for range 3 {
		for _, token := range []sessionsql.Token{w.forge(good), malformed(w.random, good, nil)} {
			for name, verb := range verbs {
				if name == "RevokeSubject" && token == "" {
					continue // because an empty token is allowed there
				}
				w.failed(verb(w.t.Context(), token))
			}
		}
	}
}

// presentOldVersions updates with a version that has passed, rotates twice, and returns the newest token.
func (w *secrecy) presentOldVersions(store *sessionsql.Store, good sessionsql.Token) sessionsql.Token {
	ctx := w.t.Context()
	mustUpdate(w.t, store, good, w.payload(), 1)
	_, err := store.Update(ctx, good, w.payload(), 1)
	w.failed(err)
	renewed := w.keep(mustRotate(w.t, store, good, nil), nil)
	w.keep(store.Rotate(ctx, good, nil))
	return renewed
}

// refusePayloads writes payloads that the Store, the server, or a constraint of the operator refuses.
func (w *secrecy) refusePayloads(store *sessionsql.Store, renewed sessionsql.Token) {
	ctx := w.t.Context()
	twin := w.payload() // the unique index refuses it the second time
	tooLong := canaryText + strings.Repeat("x", 3_001)
	cache := store.Cache("c", nil)
	w.failed(cache.Set(ctx, string(renewed), []byte(twin), 0))
	w.keep(mustInsert(w.t, store, twin, nil), nil)
	var wait sync.WaitGroup
	for i := range 8 {
		own := w.session(store, "ann")
		payload := []string{twin, tooLong, w.payload()}[i%3]
		wait.Go(func() {
			if _, err := store.Update(ctx, own, payload, sessionsql.AnyVersion); err != nil {
				w.failed(err)
			}
		})
		wait.Go(func() { w.failed(cache.Set(ctx, string(own), []byte(payload), 0)) })
		wait.Go(func() { w.keep(store.Insert(ctx, twin, nil)) })
		wait.Go(func() { w.keep(store.Insert(ctx, tooLong, nil)) })
		wait.Go(func() { w.keep(store.Insert(ctx, w.payload(), nil)) })
	}
	wait.Wait()
	for _, payload := range []string{
		twin, tooLong, canaryText + strings.Repeat("x", 5_001), canaryText + "\x00", canaryText + "\xff",
	} {
		w.keep(store.Insert(ctx, payload, nil))
		_, err := store.Update(ctx, renewed, payload, sessionsql.AnyVersion)
		w.failed(err)
		for name, call := range keyCalls(cache, string(w.forge(renewed)), payload) {
			if name != "Set" {
				w.failed(call(ctx))
			}
		}
		tx := w.d.primary.MustBegin()
		w.keep(store.InsertTx(ctx, tx, payload, nil))
		w.keep(store.InsertTx(ctx, tx, payload, nil)) // in a transaction that has failed
		must(w.t, tx.Rollback())
		w.keep(store.InsertTx(ctx, tx, payload, nil)) // in a transaction that has ended
	}
}

// callAll runs every verb at once, and closes the channel when all have returned.
func (w *secrecy) callAll(
	ctx context.Context, verbs map[string]verb, token sessionsql.Token,
) <-chan struct{} {
	var calls sync.WaitGroup
	for _, verb := range verbs {
		calls.Go(func() { w.failed(verb(ctx, token)) })
	}
	done := make(chan struct{})
	go func() { calls.Wait(); close(done) }()
	return done
}

// waiting returns the processes of calls that wait for a lock, and keeps the text of all statements.
func (w *secrecy) waiting() []int {
	var pids []int
	must(w.t, w.d.primary.Select(&pids, `SELECT pid FROM pg_stat_activity
		WHERE datname = $1 AND wait_event_type = 'Lock' AND application_name <> 'test'`, w.d.Name))
	w.keepStatements("pg_stat_activity")
	return pids
}

// keepStatements keeps the text of the statements that a view shows.
func (w *secrecy) keepStatements(view string) {
	w.seen.WriteString(get[string](w.t, w.d.primary,
		"SELECT COALESCE(string_agg(query, E'\n'), '') FROM "+view))
}

// meetLock runs every verb against a locked table until the calls time out, are cancelled, or are killed.
func (w *secrecy) meetLock(settings string, verbs map[string]verb, renewed sessionsql.Token) {
	t, ctx := w.t, w.t.Context()
	impatientSettings := settings + "&statement_timeout=25"
	impatient := w.open(impatientSettings, w.options())
	blocker := w.d.primary.MustBegin()
	blocker.MustExec(lockTable)
	blocker.MustExec("LOCK TABLE sessionsql.cache_entry IN ACCESS EXCLUSIVE MODE")
	<-w.callAll(ctx, w.verbs(impatient, impatientSettings), renewed)
	manyWait := func() bool { return len(w.waiting()) >= 5 }

	cancelled, cancel := context.WithCancel(ctx)
	done := w.callAll(cancelled, verbs, renewed)
	eventually(t, "calls wait", manyWait)
	cancel()
	<-done

	done = w.callAll(ctx, verbs, renewed)
	eventually(t, "calls wait", manyWait)
	eventually(t, "calls are killed", func() bool {
		for _, pid := range w.waiting() {
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
	w.failed(impatient.Close(ctx)) // its last flush may be late
}

func (w *secrecy) meetReadOnlyPrimary(settings string, renewed sessionsql.Token) {
	settings += "&default_transaction_read_only=on"
	demoted := w.open(settings, w.options())
	<-w.callAll(w.t.Context(), w.verbs(demoted, settings), renewed)
	_ = demoted.Close(w.t.Context())
}

// failLoops hides a function from each background loop of a Store.
func (w *secrecy) failLoops(settings string) {
	options := w.options()
	options.FlushInterval, options.ReapInterval = 5*time.Millisecond, 5*time.Millisecond
	looping := w.open(settings, options)
	live := w.session(looping, "ann")
	for _, signature := range []string{"touch_batch(bigint[], boolean)", "reap(integer, integer, boolean)"} {
		name, arguments, _ := strings.Cut(signature, "(")
		w.d.primary.MustExec("ALTER FUNCTION sessionsql." + signature + " RENAME TO hidden")
		eventually(w.t, "a loop fails", func() bool {
			w.failed(looping.Touch(w.t.Context(), live))
			stats := looping.Stats()
			return name == "reap" && stats.ReapErrors > 0 || name == "touch_batch" && stats.FlushErrors > 0
		})
		w.d.primary.MustExec("ALTER FUNCTION sessionsql.hidden(" + arguments + " RENAME TO " + name)
	}
	must(w.t, looping.Close(w.t.Context()))
	w.print(looping.Stats())
	w.print(looping)
}

// sqlTokens calls the functions that take tokens, as their comments advise: as parameters that the server
// does not log.
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
	w.keepStatements("pg_stat_activity")
}

// exported has a value of every exported struct type. The test fails if one is missing.
var exported = map[string][]any{
	"../db": {
		db.Queries{},
		db.HealthRow{},
		db.CacheHealthRow{},
		db.CacheGetBatchRow{},
		db.CacheFetchLeaseRow{},
		db.CacheListRow{},
		db.CacheReapResult{},
		db.CacheAddParams{},
		db.CacheClearParams{},
		db.CacheDeleteBatchParams{},
		db.CacheFetchLeaseParams{},
		db.CacheIncrementParams{},
		db.CacheListParams{},
		db.CacheReapParams{},
		db.CacheSetBatchParams{},
		db.CacheSwapParams{},
		db.CacheTouchBatchParams{},
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
		db.LookupNearParams{},
		db.NearSession{},
		db.ChangeFeed{},
		db.ReapParams{},
		db.RevokeParams{},
		db.RevokeBatchParams{},
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
		native.CacheGetBatchRow{},
		native.NearSession{},
		native.ServerRow{},
	},
	".": {
		sessionsql.Session{},
		sessionsql.SubjectSession{},
		sessionsql.InsertOptions{},
		sessionsql.RotateOptions{},
		sessionsql.ErrorKey{},
		sessionsql.Health{},
		sessionsql.Options{},
		sessionsql.NearCache{},
		sessionsql.Stats{},
		sessionsql.ServerStats{},
		sessionsql.Error{},
		sessionsql.PayloadError{},
		sessionsql.VersionError{},
		sessionsql.ReapResult{},
		sessionsql.CacheOptions{},
		sessionsql.CacheHealth{},
		sessionsql.Entry{},
		sessionsql.KeyedEntry{},
		reflect.TypeFor[sessionsql.Cache](), // the workload prints it
		reflect.TypeFor[sessionsql.JSONCache[any]](),
		reflect.TypeFor[sessionsql.Store](), // the workload prints it
	},
}

// printTypes prints a value of each exported type, with a payload in every field for one.
func (w *secrecy) printTypes() {
	t := w.t
	for folder, values := range exported {
		known := map[string]bool{}
		for _, value := range values {
			if kind, ok := value.(reflect.Type); ok {
				name, _, _ := strings.Cut(kind.Name(), "[") // without the parameters of a type
				known[name] = true
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
	case v.Type() == reflect.TypeFor[pgtext.Value]():
		v.Set(reflect.ValueOf(pgtext.Value(canaryText)))
	case v.Type() == reflect.TypeFor[pgtext.Values]():
		v.Set(reflect.ValueOf(pgtext.Values{[]byte(canaryText)}))
	case v.Kind() == reflect.String && strings.Contains(name, "Payload"):
		v.SetString(canaryText)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String &&
		strings.Contains(name, "Payload"):
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		v.Index(0).SetString(canaryText)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 &&
		strings.Contains(name, "Value"):
		v.SetBytes([]byte(canaryText))
	case v.Type() == reflect.TypeFor[pgtext.Values]():
		v.Set(reflect.ValueOf([][]byte{[]byte(canaryText)}).Convert(v.Type()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				fillPayloads(v.Field(i), field.Name)
			}
		}
	}
}

var loudest = map[string]string{
	"log_statement":              "all",
	"log_min_duration_statement": "0",
	"log_duration":               "on",
	"log_parameter_max_length":   "-1",
	"log_error_verbosity":        "verbose",
	"log_lock_waits":             "on",
	"deadlock_timeout":           "100ms",
	"log_connections":            "on",
	"track_activity_query_size":  "100000",
	"fsync":                      "off",
	"autovacuum":                 "off",
}

// loudCluster starts a server that logs as much as it can. explains reports whether it has the contrib
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

// newSecrecy makes a database whose index and constraint refuse some payloads, and print the refused row.
func newSecrecy(t *testing.T) *secrecy {
	t.Helper()
	cluster, explains := loudCluster(t)
	d := newDatabaseIn(t, cluster)
	d.primary.MustExec("CREATE UNIQUE INDEX forced ON sessionsql.session (md5(payload))")
	d.primary.MustExec("ALTER TABLE sessionsql.session ADD CONSTRAINT forced CHECK (length(payload) <= 3000)")
	// Counters and leases are short.
	d.primary.MustExec(`CREATE UNIQUE INDEX forced_entry ON sessionsql.cache_entry (md5(value))
		WHERE length(value) > 16`)
	d.primary.MustExec(
		"ALTER TABLE sessionsql.cache_entry ADD CONSTRAINT forced CHECK (length(value) <= 3000)")
	w := &secrecy{t: t, d: d, random: seeded(t), explains: explains}
	if explains {
		d.primary.MustExec("CREATE EXTENSION pg_stat_statements")
		version := get[int](t, d.primary, "SELECT current_setting('server_version_num')::integer")
		w.limitsExplained = version >= 160000
	}
	return w
}

// execModes are pgx's protocols. The last one writes parameters into the text of the statement.
var execModes = []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}

func TestNoSecretLeavesTheProgram(t *testing.T) {
	w := newSecrecy(t)
	quietParameters := "&log_parameter_max_length=0"
	if w.limitsExplained {
		quietParameters += "&auto_explain.log_parameter_max_length=0"
	}
	for _, mode := range execModes {
		w.workload(mode)
		if mode != "simple_protocol" {
			w.sqlTokens(mode, quietParameters)
		}
	}
	for _, server := range []string{"@127.0.0.1:1/d?sslmode=disable&connect_timeout=1", "@127.0.0.1:x/d"} {
		_, err := sessionsql.Open(t.Context(), "postgres://u:"+canaryText+server, nil, nil)
		w.failed(err)
	}
	w.printTypes()
	w.printErrors()
	var secrets, payloads haystack
	for _, token := range w.tokens {
		secrets.add(tokenNeedles(token)...)
	}
	payloads.add(payloadNeedles()...)
	w.searchPlaces(&secrets, &payloads)
	w.proveSearch(&secrets)
	w.searchSilencedLog(&secrets, &payloads)
}

// printErrors prints every error, and checks that each kind of failure occurred.
func (w *secrecy) printErrors() {
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
	w.t.Logf("%d tokens, %d errors: %v", len(w.tokens), len(w.errs), kinds)
	for _, state := range []string{"23505", "23514", "25006", "57014", "57P01", "*sessionsql.PayloadError"} {
		if kinds[state] == 0 {
			w.t.Errorf("no error of the kind %s was forced", state)
		}
	}
}

// searchPlaces searches every text that the workload left. The server's log may hold payloads, because this
// server logs parameters.
func (w *secrecy) searchPlaces(secrets, payloads *haystack) {
	t := w.t
	w.d.primary.MustExec("ANALYZE")
	statistics := get[string](t, w.d.primary, `SELECT COALESCE(string_agg(s::text, E'\n'), '')
		FROM pg_stats AS s WHERE schemaname = 'sessionsql'`)
	if w.explains {
		w.keepStatements("pg_stat_statements")
	}
	const values, programLog = "printed values and errors", "the program's log"
	places := map[string]string{
		values: w.printed.String(), programLog: w.log.String(), "the server's log": w.serverLog(),
		"pg_stat_activity and pg_stat_statements": w.seen.String(), "statistics": statistics,
	}
	for place, text := range places {
		t.Logf("searched %d kB of %s for %d spellings", len(text)>>10, place, secrets.needles)
		if text == "" {
			t.Errorf("%s is empty, so nothing was searched", place)
		}
		w.expectNone(place, secrets.find(text))
	}
	for _, place := range []string{values, programLog, "statistics"} {
		w.expectNone(place, payloads.find(places[place]))
	}
	if len(payloads.find(places["the server's log"])) == 0 {
		t.Error("the server's log holds no payload, so the server logged less than this test needs")
	}
}

// expectNone reports every needle that was found.
func (w *secrecy) expectNone(place string, found map[string]string) {
	w.t.Helper()
	for what, around := range found {
		w.t.Errorf("%s: %s: %q", place, what, around)
	}
}

// proveSearch shows that the search finds every spelling, and that the server logs where the search looks.
func (w *secrecy) proveSearch(secrets *haystack) {
	control, log := w.tokens[0], w.serverLog()
	for _, n := range tokenNeedles(control) {
		if _, found := secrets.find(log[:1000] + n.text + log[1000:2000])[n.what]; !found {
			w.t.Errorf("the search does not find a %s", n.what)
		}
	}
	w.d.primary.MustExec(fmt.Sprintf("DO $$ BEGIN RAISE LOG 'control %%', '%s'; END $$", string(control)))
	if _, found := secrets.find(w.serverLog())["token"]; !found {
		w.t.Error("the search does not find a token that was logged")
	}
}

// searchSilencedLog repeats the workload with the settings that the documentation gives to operators, under
// which the server's log holds no payload either.
func (w *secrecy) searchSilencedLog(secrets, payloads *haystack) {
	t, d := w.t, w.d
	// A failed CHECK prints the row under any settings.
	d.primary.MustExec("ALTER TABLE sessionsql.session DROP CONSTRAINT forced")
	d.primary.MustExec("ALTER TABLE sessionsql.cache_entry DROP CONSTRAINT forced")
	silence := []string{"log_parameter_max_length = 0", "log_parameter_max_length_on_error = 0"}
	if w.explains {
		silence = append(silence, "auto_explain.log_verbose = off")
	}
	if w.limitsExplained {
		silence = append(silence, "auto_explain.log_parameter_max_length = 0")
	}
	for _, setting := range silence {
		d.primary.MustExec("ALTER SYSTEM SET " + setting)
	}
	d.primary.MustExec("SELECT pg_reload_conf()")
	eventually(t, "the settings are in force", func() bool {
		return get[string](t, d.primary, "SHOW log_parameter_max_length") == "0"
	})
	begin := len(w.serverLog())
	for _, mode := range execModes[:4] {
		w.workload(mode)
		w.sqlTokens(mode, "")
	}
	for _, token := range w.tokens {
		secrets.add(tokenNeedles(token)...)
	}
	silenced := w.serverLog()[begin:]
	w.expectNone("the server's log, with the documented settings", payloads.find(silenced))
	w.expectNone("the server's log, with the documented settings", secrets.find(silenced))
}
