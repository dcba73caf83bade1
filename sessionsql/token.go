package sessionsql

import (
	"crypto/rand"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// A Token opens one session: 32 characters of base64url (RFC 4648, section 5) over 24 bytes, the session's id (8, big
// endian) and a secret of 16 random bytes (128 bits from crypto/rand; OWASP ASVS 5.0, 7.2.3). It is a string, so that a
// cookie's value converts to it and back:
//
//	http.SetCookie(w, &http.Cookie{Name: "session", Value: string(token), HttpOnly: true, Secure: true})
//	sess, err := store.Lookup(r.Context(), sessionsql.Token(cookie.Value))
//
// A Token does not print, log or marshal itself: formatting it with any verb shows only that it is one, and marshalling it,
// or handing it to a database as a query parameter, is an error. Only the conversion above gives it away.
//
// Any string is a Token; one that this package did not make opens nothing, and is found out without a round trip when it
// is not even of the form.
type Token string

const (
	idBytes     = 8
	secretBytes = 16
	tokenBytes  = idBytes + secretBytes
	tokenChars  = tokenBytes / 3 * 4
)

// hash is SHA-256 of a token's secret: all that the database ever sees of it.
type hash [sha256.Size]byte

// key names one session for certain. An id alone does not: after a crash ids are handed out again.
type key struct {
	id   int64
	hash hash
}

type secret [secretBytes]byte

func newSecret() secret {
	var s secret
	_, _ = rand.Read(s[:]) // never fails: it aborts the program where the system has no randomness to give
	return s
}

func (s secret) hash() hash { return sha256.Sum256(s[:]) }

func (s secret) token(id int64) Token {
	var raw [tokenBytes]byte
	binary.BigEndian.PutUint64(raw[:idBytes], uint64(id))
	copy(raw[idBytes:], s[:])
	return Token(base64.RawURLEncoding.EncodeToString(raw[:]))
}

// key takes a token apart; ok is false when it is malformed. 24 bytes fill 32 characters exactly, so every token has one
// spelling.
func (t Token) key() (k key, ok bool) {
	if len(t) != tokenChars {
		return key{}, false
	}
	var raw [tokenBytes]byte
	n, err := base64.RawURLEncoding.Decode(raw[:], []byte(t))
	if err != nil || n != tokenBytes {
		return key{}, false
	}
	id := int64(binary.BigEndian.Uint64(raw[:idBytes]))
	if id <= 0 {
		return key{}, false
	}
	return key{id: id, hash: secret(raw[idBytes:]).hash()}, true
}

const redactedToken = "sessionsql.Token(redacted)"

var errTokenLeaves = errors.New("sessionsql: a Token does not marshal itself; write string(token) where it may leave the program")

// Format implements [fmt.Formatter]: every verb prints the same, without the token.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedToken) }

// LogValue implements [slog.LogValuer].
func (Token) LogValue() slog.Value { return slog.StringValue(redactedToken) }

// MarshalText implements [encoding.TextMarshaler] with an error, so that no encoder writes a token by accident.
func (Token) MarshalText() ([]byte, error) { return nil, errTokenLeaves }

// Value implements [driver.Valuer] with an error: a database needs only hashes.
func (Token) Value() (driver.Value, error) { return nil, errTokenLeaves }
