package sessionsqlscs

import (
	"bytes"
	"encoding"
	"encoding/gob"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// ErrValues says that the values of a session do not encode, or that stored data does not decode into values.
// The reason is often a type without gob.Register. The error repeats no value.
var ErrValues = errors.New("sessionsql/scs: session values")

// A Codec implements scs.Codec. Like scs.GobCodec it brings back the types of values by encoding/gob, so a
// type of the application needs gob.Register. Unlike it, it encodes equal values to equal bytes, by which the
// Store sees that nothing has changed.
//
// Two exceptions cost a write each time and nothing else: a map within a struct or a slice, because gob
// writes maps in random order; and a type of the application that another program has met in another order,
// because gob numbers types in the order in which a program meets them.
//
// Codec decodes the data of scs.GobCodec, too. GobCodec does not decode the data of Codec.
type Codec struct{}

// ownFormat begins the data of a Codec. No gob stream begins so, because no message in it is empty.
const ownFormat = 0

// gobFormat is the type that scs.GobCodec encodes.
type gobFormat struct {
	Deadline time.Time
	Values   map[string]any
}

// Encode returns the data of a session. It returns [ErrValues].
func (Codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	var data bytes.Buffer
	data.WriteByte(ownFormat)
	e := encoder{gob.NewEncoder(&data)}
	when, err := deadline.MarshalBinary()
	if err == nil {
		err = e.Encode(when)
	}
	if err == nil {
		err = e.encodeMap(reflect.ValueOf(values))
	}
	if err != nil {
		return nil, fmt.Errorf("%w do not encode: %w", ErrValues, err)
	}
	return data.Bytes(), nil
}

// Decode returns the deadline and the values of a session. It returns [ErrValues].
func (Codec) Decode(data []byte) (deadline time.Time, values map[string]any, err error) {
	own, found := bytes.CutPrefix(data, []byte{ownFormat})
	if found {
		deadline, values, err = decodeOwn(own)
	} else {
		var theirs gobFormat
		err = gob.NewDecoder(bytes.NewReader(data)).Decode(&theirs)
		deadline, values = theirs.Deadline, theirs.Values
	}
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("%w do not decode from %d bytes: %w", ErrValues, len(data), err)
	}
	return deadline, values, nil
}

func decodeOwn(data []byte) (deadline time.Time, values map[string]any, err error) {
	d := decoder{gob.NewDecoder(bytes.NewReader(data))}
	var when []byte
	if err := d.Decode(&when); err != nil {
		return deadline, nil, err
	}
	if err := deadline.UnmarshalBinary(when); err != nil {
		return deadline, nil, err
	}
	values = map[string]any{}
	return deadline, values, d.decodeMap(reflect.ValueOf(values))
}

// An encoder writes a map as its length and its entries, sorted by their keys. It writes an interface that
// holds such a map as an empty map of the same type, by which a decoder knows the type, and then the map.
type encoder struct{ *gob.Encoder }

func (e encoder) encodeMap(m reflect.Value) error {
	if err := e.Encode(m.Len()); err != nil {
		return err
	}
	keys := m.MapKeys()
	text := func(key reflect.Value) string { return fmt.Sprintf("%T %#[1]v", key.Interface()) }
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(text(a), text(b)) })
	for _, key := range keys {
		if err := e.EncodeValue(key); err != nil {
			return err
		}
		if err := e.encode(m.MapIndex(key)); err != nil {
			return err
		}
	}
	return nil
}

func (e encoder) encode(v reflect.Value) error {
	if isSorted(v.Type()) {
		return e.encodeMap(v)
	}
	if v.Kind() != reflect.Interface || v.IsNil() || !isSorted(v.Elem().Type()) {
		return e.EncodeValue(v)
	}
	empty := reflect.MakeMap(v.Elem().Type()).Interface()
	if err := e.Encode(&empty); err != nil {
		return err
	}
	return e.encodeMap(v.Elem())
}

// A decoder reads the output of an encoder.
type decoder struct{ *gob.Decoder }

func (d decoder) decodeMap(m reflect.Value) error {
	n := 0
	if err := d.Decode(&n); err != nil {
		return err
	}
	for range n {
		key, value := reflect.New(m.Type().Key()).Elem(), reflect.New(m.Type().Elem()).Elem()
		if err := d.DecodeValue(key.Addr()); err != nil {
			return err
		}
		if err := d.decode(value); err != nil {
			return err
		}
		m.SetMapIndex(key, value)
	}
	return nil
}

func (d decoder) decode(v reflect.Value) error {
	if isSorted(v.Type()) {
		v.Set(reflect.MakeMap(v.Type()))
		return d.decodeMap(v)
	}
	if err := d.DecodeValue(v.Addr()); err != nil {
		return err
	}
	if v.Kind() == reflect.Interface && !v.IsNil() && isSorted(v.Elem().Type()) {
		return d.decodeMap(v.Elem())
	}
	return nil
}

// A type with one of these encodes itself.
var marshalers = []reflect.Type{
	reflect.TypeFor[gob.GobEncoder](), reflect.TypeFor[encoding.BinaryMarshaler](),
}

// isSorted tells which maps the encoder writes by itself. Gob writes the others: those that encode
// themselves, and those of pointers, because gob refuses a nil pointer with an error in a map and with a
// panic elsewhere.
func isSorted(t reflect.Type) bool {
	if t.Kind() != reflect.Map || t.Key().Kind() == reflect.Pointer || t.Elem().Kind() == reflect.Pointer {
		return false
	}
	return !slices.ContainsFunc(marshalers, func(m reflect.Type) bool {
		return t.Implements(m) || reflect.PointerTo(t).Implements(m)
	})
}
