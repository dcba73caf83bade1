package pgtext_test

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/internal/testkit"
)

// parse reads PostgreSQL's text form of an array with pgx's parser instead of ours.
func parse[T any](t *testing.T, oid uint32, value driver.Valuer) []T {
	t.Helper()
	text, err := value.Value()
	testkit.Must(t, err)
	var parsed []T
	if err := pgtype.NewMap().Scan(oid, pgtype.TextFormatCode, []byte(text.(string)), &parsed); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return parsed
}

func TestArraysOfNumbersKeepEveryValue(t *testing.T) {
	ids := pgtext.IDs{1, -1, 0, 1<<63 - 1, -1 << 63}
	if got := parse[int64](t, pgtype.Int8ArrayOID, ids); !slices.Equal(got, ids) {
		t.Errorf("%v became %v", ids, got)
	}
	if got := parse[int64](t, pgtype.Int8ArrayOID, pgtext.IDs(nil)); len(got) != 0 {
		t.Errorf("an empty array became %v", got)
	}
	hashes := pgtext.Hashes{{1, 2, 255}, {}}
	for i, got := range parse[[]byte](t, pgtype.ByteaArrayOID, hashes) {
		if string(got) != string(hashes[i][:]) {
			t.Errorf("%x became %x", hashes[i], got)
		}
	}
	seconds := pgtext.Seconds{{Float64: 0.1, Valid: true}, {}, {Float64: 1e300, Valid: true}}
	floats := parse[*float64](t, pgtype.Float8ArrayOID, seconds)
	if len(floats) != 3 || *floats[0] != 0.1 || floats[1] != nil || *floats[2] != 1e300 {
		t.Errorf("%v became %v", seconds, floats)
	}
	versions := pgtext.Versions{{Int32: 1, Valid: true}, {}, {Int32: -1 << 31, Valid: true}}
	integers := parse[*int32](t, pgtype.Int4ArrayOID, versions)
	if len(integers) != 3 || *integers[0] != 1 || integers[1] != nil || *integers[2] != -1<<31 {
		t.Errorf("%v became %v", versions, integers)
	}
}

func TestKeysAndSpacesKeepEveryValue(t *testing.T) {
	keys := pgtext.Keys{{1, 2, 255}, {}}
	for i, got := range parse[pgtype.UUID](t, pgtype.UUIDArrayOID, keys) {
		if got.Bytes != keys[i] {
			t.Errorf("%x became %x", keys[i], got.Bytes)
		}
		var scanned pgtext.Key
		text, err := keys[i].Value()
		testkit.Must(t, err)
		for _, src := range []any{text, got.String(), []byte(got.String())} {
			if err := scanned.Scan(src); err != nil || scanned != keys[i] {
				t.Errorf("%v became %x, %v", src, scanned, err)
			}
		}
	}
	for _, src := range []any{nil, 1, "", "00", strings.Repeat("x", 32)} {
		if err := new(pgtext.Key).Scan(src); err == nil {
			t.Errorf("%v was accepted as a key", src)
		}
	}
	spaces := pgtext.Spaces{1, -1 << 31, 1<<31 - 1}
	if got := parse[int32](t, pgtype.Int4ArrayOID, spaces); !slices.Equal(got, spaces) {
		t.Errorf("%v became %v", spaces, got)
	}
}

func TestValuesKeepEveryByteAndNull(t *testing.T) {
	values := pgtext.Values{{0, 255, '"', '\\', ','}, nil, {}, []byte("NULL")}
	for i, got := range parse[[]byte](t, pgtype.ByteaArrayOID, values) {
		if string(got) != string(values[i]) || (got == nil) != (values[i] == nil) {
			t.Errorf("%q became %q", values[i], got)
		}
	}
	if null, err := pgtext.Values(nil).Value(); null != nil || err != nil {
		t.Errorf("no array became %v, %v", null, err)
	}
	for _, value := range []pgtext.Value{nil, {}, {0, 1}} {
		got, err := value.Value()
		bytes, ok := got.([]byte)
		if ok == (value == nil) || err != nil || string(bytes) != string(value) {
			t.Errorf("%d bytes became %v, %v", len(value), got, err)
		}
	}
}

func FuzzArraysOfText(f *testing.F) {
	f.Add("plain", "")
	f.Add(`"quoted" \ back\\slash`, "NULL")
	f.Add("{a,b}", " \t\n")
	f.Add("日本語 🙂", `\`)
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b} {
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				return // the Store refuses it earlier
			}
		}
		want := []string{a, b, a}
		if got := parse[string](t, pgtype.TextArrayOID, pgtext.Payloads(want)); !slices.Equal(got, want) {
			t.Errorf("%q became %q", want, got)
		}
		subjects := pgtext.Subjects{{String: a, Valid: true}, {}, {String: b, Valid: true}}
		got := parse[*string](t, pgtype.TextArrayOID, subjects)
		if *got[0] != a || got[1] != nil || *got[2] != b {
			t.Errorf("%v became %v", subjects, got)
		}
	})
}

func TestPayloadsAndValuesNeverPrintThemselves(t *testing.T) {
	value := struct {
		P  pgtext.Payload
		Ps pgtext.Payloads
		V  pgtext.Value
		Vs pgtext.Values
	}{"canary", pgtext.Payloads{"canary"}, pgtext.Value("canary"), pgtext.Values{[]byte("canary")}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb, value)
		if strings.Contains(text, "canary") || strings.Contains(text, "63616e617279") ||
			strings.Contains(text, "99 97 110 97 114 121") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}

func TestPayloadScansTextAndRefusesNull(t *testing.T) {
	var p pgtext.Payload
	for _, src := range []any{"text", []byte("text")} {
		if err := sql.Scanner(&p).Scan(src); err != nil || p != "text" {
			t.Errorf("%T: %v", src, err)
		}
	}
	if err := p.Scan(nil); err == nil {
		t.Error("a null payload was accepted")
	}
}
