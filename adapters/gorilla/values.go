package sessionsqlgorilla

import (
	"encoding/base64"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// ErrValues says that Values do not encode, or that a payload does not decode into Values. The reason is
// often a type without gob.Register. The error repeats no value.
var ErrValues = errors.New("sessionsql/gorilla: session values")

type values = map[any]any

// encode returns values as a payload.
func encode(v values) (string, error) {
	var text strings.Builder
	encoder := base64.NewEncoder(base64.StdEncoding, &text)
	if err := gob.NewEncoder(encoder).Encode(v); err != nil {
		return "", fmt.Errorf("%w do not encode: %w", ErrValues, err)
	}
	_ = encoder.Close() // a strings.Builder takes everything
	return text.String(), nil
}

// decode returns the values in a payload. An empty payload holds none.
func decode(payload string) (v values, err error) {
	if payload == "" {
		return values{}, nil
	}
	bytes := base64.NewDecoder(base64.StdEncoding, strings.NewReader(payload))
	if err := gob.NewDecoder(bytes).Decode(&v); err != nil {
		return nil, fmt.Errorf("%w do not decode from %d bytes: %w", ErrValues, len(payload), err)
	}
	return v, nil
}

// changes are the keys that differ between two values: set to a value, or deleted.
type changes struct {
	set     values
	deleted []any
}

func changesBetween(before, after values) changes {
	c := changes{set: values{}}
	for key, value := range after {
		if old, found := before[key]; !found || !reflect.DeepEqual(old, value) {
			c.set[key] = value
		}
	}
	for key := range before {
		if _, kept := after[key]; !kept {
			c.deleted = append(c.deleted, key)
		}
	}
	return c
}

func (c changes) empty() bool { return len(c.set) == 0 && len(c.deleted) == 0 }

func (c changes) apply(to values) {
	maps.Copy(to, c.set)
	for _, key := range c.deleted {
		delete(to, key)
	}
}
