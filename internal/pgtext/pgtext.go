// Package pgtext holds Go types of parameters and columns that sqlc's overrides name. sqlc would encode
// arrays with another driver, and a payload must not print itself.
//
// Arrays are sent in PostgreSQL's text form (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO),
// because every database/sql driver can send it, in any protocol mode.
package pgtext

import (
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Payload is the text that an application keeps in a session. Every verb of package fmt prints only its size.
type Payload string

func (p Payload) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted(len(p))) }

func (p Payload) Value() (driver.Value, error) { return string(p), nil }

func (p *Payload) Scan(src any) error {
	switch v := src.(type) {
	case string:
		*p = Payload(v)
	case []byte:
		*p = Payload(v)
	default:
		return fmt.Errorf("pgtext: cannot scan %T into a payload", src)
	}
	return nil
}

// IDs is a bigint[].
type IDs []int64

func (ids IDs) Value() (driver.Value, error) {
	element := func(b []byte, i int) []byte { return strconv.AppendInt(b, ids[i], 10) }
	return array(len(ids), 12, element), nil
}

func (ids *IDs) Scan(src any) error {
	elements, err := split(src)
	*ids = make(IDs, len(elements))
	for i := range elements {
		if (*ids)[i], err = strconv.ParseInt(elements[i], 10, 64); err != nil {
			return fmt.Errorf("pgtext: ids: %w", err)
		}
	}
	return err
}

// Hashes is a bytea[] of SHA-256 hashes.
type Hashes [][32]byte

func (hashes Hashes) Value() (driver.Value, error) {
	return array(len(hashes), 70, func(b []byte, i int) []byte {
		b = append(b, `"\\x`...)
		b = hex.AppendEncode(b, hashes[i][:])
		return append(b, '"')
	}), nil
}

// Payloads is a text[] of payloads. Every verb of package fmt prints only its length.
type Payloads []string

func (p Payloads) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted(len(p))) }

func (p Payloads) Value() (driver.Value, error) {
	size := 0
	for _, s := range p {
		size += len(s) + len(s)/8
	}
	element := func(b []byte, i int) []byte { return appendQuoted(b, p[i]) }
	return array(len(p), size/max(len(p), 1)+3, element), nil
}

// Key is the uuid that names a cache entry.
type Key [16]byte

func (k Key) Value() (driver.Value, error) { return hex.EncodeToString(k[:]), nil }

func (k *Key) Scan(src any) error {
	var text string
	switch v := src.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != len(k) {
		return fmt.Errorf("pgtext: cannot scan %T into a key", src)
	}
	*k = Key(raw)
	return nil
}

// Keys is a uuid[].
type Keys []Key

func (keys Keys) Value() (driver.Value, error) {
	element := func(b []byte, i int) []byte { return hex.AppendEncode(b, keys[i][:]) }
	return array(len(keys), 32, element), nil
}

func (keys *Keys) Scan(src any) error {
	elements, err := split(src)
	*keys = make(Keys, len(elements))
	for i := range elements {
		if err = (*keys)[i].Scan(elements[i]); err != nil {
			return err
		}
	}
	return err
}

// Value is the value of a cache entry, or a plain key; nil is null. Every verb of package fmt prints only its
// size.
type Value []byte

func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted(len(v))) }

func (v Value) Value() (driver.Value, error) {
	if v == nil {
		return nil, nil
	}
	return []byte(v), nil
}

// Values is a bytea[] with nulls. Every verb of package fmt prints only its length. A nil Values is null.
type Values [][]byte

func (v Values) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted(len(v))) }

func (v Values) Value() (driver.Value, error) {
	if v == nil {
		return nil, nil
	}
	size := 0
	for _, value := range v {
		size += 2*len(value) + 5
	}
	return array(len(v), size/max(len(v), 1)+1, func(b []byte, i int) []byte {
		if v[i] == nil {
			return append(b, "NULL"...)
		}
		b = append(b, `"\\x`...)
		b = hex.AppendEncode(b, v[i])
		return append(b, '"')
	}), nil
}

// Spaces is an integer[].
type Spaces []int32

func (s Spaces) Value() (driver.Value, error) {
	element := func(b []byte, i int) []byte { return strconv.AppendInt(b, int64(s[i]), 10) }
	return array(len(s), 11, element), nil
}

// Seconds is a double precision[] with nulls. A nil Seconds is null.
type Seconds []sql.NullFloat64

func (s Seconds) Value() (driver.Value, error) {
	if s == nil {
		return nil, nil
	}
	return array(len(s), 8, func(b []byte, i int) []byte {
		if !s[i].Valid {
			return append(b, "NULL"...)
		}
		return strconv.AppendFloat(b, s[i].Float64, 'g', -1, 64)
	}), nil
}

// Subjects is a text[] with nulls.
type Subjects []sql.NullString

func (s Subjects) Value() (driver.Value, error) {
	return array(len(s), 16, func(b []byte, i int) []byte {
		if !s[i].Valid {
			return append(b, "NULL"...)
		}
		return appendQuoted(b, s[i].String)
	}), nil
}

// Versions is an integer[] with nulls.
type Versions []sql.NullInt32

func (v Versions) Value() (driver.Value, error) {
	return array(len(v), 4, func(b []byte, i int) []byte {
		if !v[i].Valid {
			return append(b, "NULL"...)
		}
		return strconv.AppendInt(b, int64(v[i].Int32), 10)
	}), nil
}

// array writes n elements between braces; size is the rough length of an element.
func array(n, size int, element func([]byte, int) []byte) string {
	b := make([]byte, 0, n*(size+1)+2)
	b = append(b, '{')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(b, i)
	}
	return string(append(b, '}'))
}

// split returns the elements of an array that needs no quotes.
func split(src any) ([]string, error) {
	var text string
	switch v := src.(type) {
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		return nil, fmt.Errorf("pgtext: cannot scan %T into an array", src)
	}
	if text = strings.Trim(text, "{}"); text == "" {
		return nil, nil
	}
	return strings.Split(text, ","), nil
}

// appendQuoted writes an element without NUL. Within quotes only the quote and the backslash are special.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, s[from:i]...)
			b = append(b, '\\')
			from = i
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

func redacted(n int) string { return "(" + strconv.Itoa(n) + " redacted)" }
