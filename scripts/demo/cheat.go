package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	mathrand "math/rand/v2"
	"strings"
	"sync/atomic"
)

// tokens are the cookies of all users. From their ids, and from the hashes that the database stores, a thief
// makes cookies that must open nothing.
type tokens struct{ all []atomic.Pointer[string] }

func newTokens(users int) *tokens { return &tokens{all: make([]atomic.Pointer[string], users)} }

func (t *tokens) put(user int, token string) { t.all[user].Store(&token) }

// any returns a random user's cookie, or the given one if that user has none yet.
func (t *tokens) any(otherwise string) string {
	if token := t.all[mathrand.IntN(len(t.all))].Load(); token != nil {
		return *token
	}
	return otherwise
}

const (
	tokenBytes = 24
	idBytes    = 8
)

// cheat presents a cookie that the site has never set.
func (u *user) cheat(ctx context.Context) {
	victim := u.tokens.any(u.token)
	switch mathrand.IntN(3) {
	case 0:
		u.mustBeRefused(ctx, forgedToken(), "forged")
		u.tally.forged.Add(1)
	case 1:
		u.mustBeRefused(ctx, malformedToken(victim), "malformed")
		u.tally.malformed.Add(1)
	default:
		u.mustBeRefused(ctx, stolenID(victim), "stolen-by-id")
		u.tally.stolen.Add(1)
	}
}

func (u *user) mustBeRefused(ctx context.Context, token, kind string) {
	a := u.browser.present(ctx, home, token)
	u.tally.enter(a, 200, 401)
	if a.accepted() {
		u.tally.judge([]finding{certain(wrongOwner, "a %s cookie was accepted", kind)})
	}
}

// forgedToken returns a random token in the right form.
func forgedToken() string {
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // it never fails
	if mathrand.IntN(2) == 0 {
		clear(raw[:idBytes-2]) // an id that is likely to exist
	} else {
		raw[0] &= 0x7f // because ids are positive
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// stolenID returns a token with the id of an existing session. Its secret is random or made from the stored
// hash.
func stolenID(victim string) string {
	raw, err := base64.RawURLEncoding.DecodeString(victim)
	if err != nil || len(raw) != tokenBytes {
		return forgedToken() // the site's own checks find such a strange cookie
	}
	if mathrand.IntN(2) == 0 {
		stored := sha256.Sum256(raw[idBytes:])
		copy(raw[idBytes:], stored[:])
	} else {
		_, _ = rand.Read(raw[idBytes:])
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// malformedToken returns a text that is no token. Some of them differ little from a real one.
func malformedToken(real string) string {
	forms := []string{
		"x",
		strings.Repeat("A", 32),                   // id 0
		strings.Repeat("_", 32),                   // a negative id
		strings.Repeat("A", 4096),                 //
		strings.Repeat("+/", 16),                  // the other base64 alphabet
		strings.Repeat("%00", 10) + "%0",          // NUL after decoding
		strings.Repeat("\xff", 32),                // not UTF-8
		`"' OR true --` + strings.Repeat(" ", 19), // SQL in quotes
		real[:len(real)-1],
		real + "A",
		real + "=",
		real + "%00",
		real[:len(real)-1] + "*",
		" " + strings.ToUpper(real) + ";",
	}
	return forms[mathrand.IntN(len(forms))]
}
