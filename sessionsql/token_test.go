package sessionsql_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

func TestTokenIs32CharactersOfBase64URL(t *testing.T) {
	store := newDatabase(t).Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	raw, err := base64.RawURLEncoding.DecodeString(string(token))
	must(t, err)
	if len(token) != 32 || len(raw) != 24 {
		t.Errorf("token has %d characters and %d bytes, want 32 and 24", len(token), len(raw))
	}
}

func TestTokenNeverPrintsItself(t *testing.T) {
	token := sessionsql.Token("AAAAAAAAAAHCanaryCanaryCanary000")
	value := struct {
		Token  sessionsql.Token
		Tokens []sessionsql.Token
		ByName map[string]*sessionsql.Token
	}{token, []sessionsql.Token{token}, map[string]*sessionsql.Token{"a": &token}}

	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&printed, verb+verb+"\n", token, value)
	}
	fmt.Fprintln(&printed, token, value)
	var logged bytes.Buffer
	handlers := []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)}
	for _, handler := range handlers {
		slog.New(handler).Info("a", "token", token, "value", value)
	}
	for _, output := range []string{printed.String(), logged.String()} {
		for _, leak := range []string{"Canary", fmt.Sprintf("%x", "Canary"), fmt.Sprintf("%X", "Canary")} {
			if strings.Contains(output, leak) {
				t.Errorf("%q appears in %s", leak, output)
			}
		}
	}
	if text, err := json.Marshal(value); err == nil {
		t.Errorf("a token was marshalled: %s", text)
	}
	if _, err := driver.Valuer(token).Value(); err == nil {
		t.Error("a token was given to a database")
	}
}

// hostileTokens returns a token of every wrong kind, each made from a good one.
func hostileTokens(good sessionsql.Token) map[string]sessionsql.Token {
	raw, _ := base64.RawURLEncoding.DecodeString(string(good))
	with := func(edit func([]byte)) sessionsql.Token {
		changed := bytes.Clone(raw)
		edit(changed)
		return sessionsql.Token(base64.RawURLEncoding.EncodeToString(changed))
	}
	id := func(bytes ...byte) sessionsql.Token { return with(func(b []byte) { copy(b, bytes) }) }
	stored := sha256.Sum256(raw[8:])
	return map[string]sessionsql.Token{
		"empty":                     "",
		"too short":                 good[:31],
		"too long":                  good + "A",
		"padded":                    good[:31] + "=",
		"standard alphabet":         "+" + good[1:],
		"line break":                good[:31] + "\n",
		"two line breaks":           "\r\n" + good[:30],
		"NUL":                       good[:31] + "\x00",
		"invalid UTF-8":             good[:31] + "\xff",
		"wide characters":           sessionsql.Token(strings.Repeat("é", 16)),
		"id 0":                      id(0, 0, 0, 0, 0, 0, 0, 0),
		"id -1":                     id(255, 255, 255, 255, 255, 255, 255, 255),
		"id 2^63-1":                 id(127, 255, 255, 255, 255, 255, 255, 255),
		"id -2^63":                  id(128, 0, 0, 0, 0, 0, 0, 0),
		"another id, same secret":   with(func(b []byte) { b[7]++ }),
		"same id, wrong secret":     with(func(b []byte) { b[23] ^= 1 }),
		"same id, empty secret":     with(func(b []byte) { clear(b[8:]) }),
		"stored hash as secret":     with(func(b []byte) { copy(b[8:], stored[:16]) }),
		"stored hash's second half": with(func(b []byte) { copy(b[8:], stored[16:]) }),
	}
}

func TestHostileTokensAreOneAndTheSameError(t *testing.T) {
	store := newDatabase(t).Store(t, nil)
	good := mustInsert(t, store, "p", nil)
	for name, token := range hostileTokens(good) {
		if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("%s: Lookup returned %v", name, err)
		}
		_, err := store.Update(t.Context(), token, "stolen", sessionsql.AnyVersion)
		if err != sessionsql.ErrNoSession {
			t.Errorf("%s: Update returned %v", name, err)
		}
		if err := store.Revoke(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("%s: Revoke returned %v", name, err)
		}
		if err := store.Touch(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("%s: Touch returned %v", name, err)
		}
	}
	if sess, err := store.Lookup(t.Context(), good); err != nil || sess.Payload != "p" {
		t.Errorf("Lookup of the good token: %v, %v", sess, err)
	}
}

func TestMalformedTokenNeedsNoRoundTrip(t *testing.T) {
	store := sessiontest.OpenStoreOver(t, nowhere(t), nil)
	defer closeStore(t, store)

	if _, err := store.Lookup(t.Context(), "malformed"); err != sessionsql.ErrNoSession {
		t.Errorf("malformed: %v", err)
	}
	if _, err := store.Lookup(t.Context(), wellFormed); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("well-formed: %v", err)
	}
}

func FuzzTokenIsOpenedOnlyByItsOwnSpelling(f *testing.F) {
	store := sessiontest.OpenStoreOver(f, open(f, primaryDSN), nil)
	good := mustInsert(f, store, "p", nil)
	for _, token := range hostileTokens(good) {
		f.Add(string(token))
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := store.Lookup(t.Context(), sessionsql.Token(text))
		if text != string(good) && err != sessionsql.ErrNoSession {
			t.Errorf("%q: %v", text, err)
		}
	})
}
