package scs_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
	"github.com/sessionsql/postgres/internal/testkit"
)

type item struct {
	Name  string
	Price float64
	Until *time.Time
}

type voucher struct{ Code string }

type cart map[int]item

// A badge encodes itself, so its map is no business of the codec.
type badge map[string]int

func (b badge) MarshalBinary() ([]byte, error) {
	return strconv.AppendInt(nil, int64(b["level"]), 10), nil
}

func (b *badge) UnmarshalBinary(data []byte) error {
	level, err := strconv.Atoi(string(data))
	*b = badge{"level": level}
	return err
}

func init() {
	for _, value := range []any{
		item{},
		&voucher{},
		[]item{},
		cart{},
		badge{},
		time.Time{},
		time.Duration(0),
		[]any{},
		[2]bool{},
		map[string]string{},
		map[string]any{},
		map[any]any{},
		map[float64]bool{},
		map[[2]int]string{},
		map[string]map[int]string{},
		map[string]*item{},
		map[string][]string{},
	} {
		gob.Register(value)
	}
}

// randomValue returns one that scs.GobCodec can store.
func randomValue(r *rand.Rand, depth int) any {
	text := func() string { return fmt.Sprintf("%x", r.Uint32()>>r.IntN(32)) }
	until := time.Unix(r.Int64N(1e10), r.Int64N(1e9)).UTC()
	switch n := r.IntN(25); n {
	case 0:
		return r.IntN(2) == 0
	case 1:
		return r.Int()
	case 2:
		return r.Int64() - math.MaxInt64/2
	case 3:
		return r.NormFloat64()
	case 4:
		return []byte(text())
	case 5:
		return until
	case 6:
		return time.Duration(r.Int64())
	case 7:
		return item{Name: text(), Price: r.Float64(), Until: &until}
	case 8:
		return &voucher{text()}
	case 9:
		return []item{{Name: text()}, {}}
	case 10:
		return nil
	case 11:
		return [2]bool{true, false}
	case 12:
		return []string{text(), ""}
	case 13:
		return badge{"level": r.IntN(100)}
	case 14:
		return map[string]*item{text(): {Name: text()}}
	case 15:
		return complex(r.Float64(), 1)
	}
	if depth == 0 {
		return text()
	}
	switch r.IntN(9) {
	case 0:
		return randomMap(r, map[string]any{}, text, func() any { return randomValue(r, depth-1) })
	case 1:
		key := func() any { return []any{r.IntN(9), text(), int64(1)}[r.IntN(3)] }
		return randomMap(r, map[any]any{}, key,
			func() any { return randomValue(r, depth-1) })
	case 2:
		return randomMap(r, cart{}, r.Int, func() item { return item{Name: text(), Until: &until} })
	case 3:
		return randomMap(r, map[float64]bool{}, r.NormFloat64, func() bool { return true })
	case 4:
		return randomMap(r, map[[2]int]string{}, func() [2]int { return [2]int{r.IntN(3), r.IntN(3)} }, text)
	case 5:
		return randomMap(r, map[string]map[int]string{}, text, func() map[int]string {
			return randomMap(r, map[int]string{}, r.Int, text)
		})
	case 6:
		return randomMap(r, map[string][]string{}, text, func() []string { return []string{text()} })
	case 7:
		return []any{randomValue(r, 0), text()} // without a map, see Codec
	}
	return randomMap(r, map[string]string{}, text, text)
}

func randomMap[M ~map[K]V, K comparable, V any](r *rand.Rand, m M, key func() K, value func() V) M {
	for range r.IntN(6) {
		m[key()] = value()
	}
	return m
}

// TestCodecKeepsValuesLikeGobCodec compares the two codecs on the same random values.
func TestCodecKeepsValuesLikeGobCodec(t *testing.T) {
	r := testkit.Random(t)
	for range 500 {
		deadline := time.Unix(r.Int64N(1e10), r.Int64N(1e9)).UTC()
		values := randomMap(r, map[string]any{}, func() string { return fmt.Sprint(r.IntN(50)) },
			func() any { return randomValue(r, 2) })
		theirs, err := scs.GobCodec{}.Encode(deadline, values)
		testkit.Must(t, err)
		_, want, err := scs.GobCodec{}.Decode(theirs)
		testkit.Must(t, err)
		if want == nil { // GobCodec brings back no map for one without values, and then scs panics at Put
			want = map[string]any{}
		}
		ours, err := sessionsqlscs.Codec{}.Encode(deadline, values)
		testkit.Must(t, err)
		for name, data := range map[string][]byte{"GobCodec": theirs, "Codec": ours} {
			gotDeadline, got, err := sessionsqlscs.Codec{}.Decode(data)
			if err != nil || gotDeadline != deadline || !reflect.DeepEqual(got, want) {
				t.Fatalf("data of %s: %v, %#v, %v; want %v, %#v", name, gotDeadline, got, err, deadline, want)
			}
		}
	}
}

// TestCodecEncodesEqualValuesToEqualBytes builds the same values twice, so that their maps differ in order.
func TestCodecEncodesEqualValuesToEqualBytes(t *testing.T) {
	seeds, differ := testkit.Random(t), 0
	for range 500 {
		seed := seeds.Uint64()
		build := func() map[string]any {
			r := rand.New(rand.NewPCG(seed, 0))
			return randomMap(r, map[string]any{}, func() string { return fmt.Sprint(r.IntN(50)) },
				func() any { return randomValue(r, 2) })
		}
		first, err := sessionsqlscs.Codec{}.Encode(time.Time{}, build())
		testkit.Must(t, err)
		_, values, err := sessionsqlscs.Codec{}.Decode(first)
		testkit.Must(t, err)
		for _, again := range []map[string]any{build(), values} {
			second, err := sessionsqlscs.Codec{}.Encode(time.Time{}, again)
			testkit.Must(t, err)
			if !bytes.Equal(first, second) {
				t.Fatalf("%#v encodes to other bytes", again)
			}
		}
		theirs, err := scs.GobCodec{}.Encode(time.Time{}, build())
		testkit.Must(t, err)
		theirsAgain, err := scs.GobCodec{}.Encode(time.Time{}, values)
		testkit.Must(t, err)
		if !bytes.Equal(theirs, theirsAgain) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("GobCodec passes this test too, so the test finds nothing")
	}
}

func TestCodecRefusesByNameWhatItCannotStore(t *testing.T) {
	const secret = "secret value"
	type unregistered struct{ Text string }
	for _, value := range []any{
		unregistered{secret},
		map[string]any{secret: unregistered{secret}},
		(*voucher)(nil),
		map[string]*item{secret: nil},
		map[string]any{secret: (*voucher)(nil)},
	} {
		_, err := sessionsqlscs.Codec{}.Encode(time.Now(), map[string]any{secret: value})
		if !errors.Is(err, sessionsqlscs.ErrValues) || strings.Contains(err.Error(), secret) {
			t.Errorf("Encode of a %T: %v", value, err)
		}
	}
	values := map[string]any{"a": secret, "b": cart{1: item{Name: secret}}}
	data, err := sessionsqlscs.Codec{}.Encode(time.Now(), values)
	testkit.Must(t, err)
	for n := range len(data) {
		_, got, err := sessionsqlscs.Codec{}.Decode(data[:n])
		if got != nil || !errors.Is(err, sessionsqlscs.ErrValues) || strings.Contains(err.Error(), secret) {
			t.Errorf("Decode of the first %d bytes of %d: %v, %v", n, len(data), got, err)
		}
	}
}

// FuzzDecode proves that no data makes Decode panic.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		values := randomMap(r, map[string]any{}, func() string { return fmt.Sprint(r.IntN(50)) },
			func() any { return randomValue(r, 2) })
		ours, err := sessionsqlscs.Codec{}.Encode(time.Now(), values)
		testkit.Must(f, err)
		f.Add(ours)
	}
	f.Fuzz(func(_ *testing.T, data []byte) { _, _, _ = sessionsqlscs.Codec{}.Decode(data) })
}
