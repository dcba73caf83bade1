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

// A Token opens one session. It is 32 characters of base64url (RFC 4648, section 5) over 24 bytes: the
// session's id (8 bytes, big endian) and a secret of 16 random bytes (128 bits of crypto/rand; OWASP ASVS
// 5.0, 7.2.3). It is a string, so that a cookie's value converts to it and back:
//
//	http.SetCookie(w, &http.Cookie{Name: "session", Value: string(token), HttpOnly: true, Secure: true})
//	sess, err := store.Lookup(r.Context(), sessionsql.Token(cookie.Value))
//
// A Token does not reveal itself. Every verb of package fmt, and every logger, prints a fixed text.
// Marshalling it, or sending it to a database as a query parameter, is an error. Only the conversion to a
// string reveals it.
//
// Any string is a Token. A malformed one is refused without a round trip.
type Token string

const (
	idBytes     = 8
	secretBytes = 16
	tokenBytes  = idBytes + secretBytes
	tokenChars  = tokenBytes / 3 * 4
)

// A hash is SHA-256 of a token's secret. The database never sees the secret itself.
type hash [sha256.Size]byte

// A key identifies one session. An id alone does not, because PostgreSQL reuses ids after a crash.
type key struct {
	id   int64
	hash hash
}

type secret [secretBytes]byte

func newSecret() secret {
	var s secret
	_, _ = rand.Read(s[:]) // never returns an error, because it aborts the program instead
	return s
}

func (s secret) hash() hash { return sha256.Sum256(s[:]) }

func (s secret) token(id int64) Token {
	var raw [tokenBytes]byte
	binary.BigEndian.PutUint64(raw[:idBytes], uint64(id))
	copy(raw[idBytes:], s[:])
	return Token(base64.RawURLEncoding.EncodeToString(raw[:]))
}

// key parses a token; ok is false when it is malformed. 24 bytes fill 32 characters exactly, so each token
// has one spelling.
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

var errTokenMarshalled = errors.New(
	"sessionsql: a Token does not marshal itself; write string(token) where it may leave the program")

// Format implements [fmt.Formatter]. Every verb prints the same text, without the token.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedToken) }

// LogValue implements [slog.LogValuer].
func (Token) LogValue() slog.Value { return slog.StringValue(redactedToken) }

// MarshalText implements [encoding.TextMarshaler] with an error, so that no encoder writes a token.
func (Token) MarshalText() ([]byte, error) { return nil, errTokenMarshalled }

// Value implements [driver.Valuer] with an error, because a database needs only the hash.
func (Token) Value() (driver.Value, error) { return nil, errTokenMarshalled }
