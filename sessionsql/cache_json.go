package sessionsql

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// A JSONCache is a [Cache] whose values are JSON of one type.
type JSONCache[T any] struct{ cache *Cache }

// Format implements [fmt.Formatter], for the reason of [Cache.Format].
func (c JSONCache[T]) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "sessionsql.JSONCache") }

// JSON returns a view of a Cache whose values are JSON of type T, such as JSON[[]Product](cache).
func JSON[T any](cache *Cache) *JSONCache[T] { return &JSONCache[T]{cache} }

// Get is [Cache.Get]. It returns an error if the value is no JSON of type T.
func (c *JSONCache[T]) Get(ctx context.Context, key string) (T, error) {
	entry, err := c.cache.Get(ctx, key)
	if err != nil {
		var none T
		return none, err
	}
	return decode[T]("cache get", entry.Value)
}

// Set is [Cache.Set]. It returns an error if JSON cannot express the value.
func (c *JSONCache[T]) Set(ctx context.Context, key string, value T, ttl time.Duration) error {
	text, err := encode("cache set", value)
	if err != nil {
		return err
	}
	return c.cache.Set(ctx, key, text, ttl)
}

// Fetch is [Cache.Fetch]. It returns an error if JSON cannot express the value, or the entry is no JSON of
// type T.
func (c *JSONCache[T]) Fetch(
	ctx context.Context, key string, ttl time.Duration, load func(context.Context) (T, error),
) (T, error) {
	text, err := c.cache.Fetch(ctx, key, ttl, func(ctx context.Context) ([]byte, error) {
		value, err := load(ctx)
		if err != nil {
			return nil, err
		}
		return encode("cache fetch", value)
	})
	if err != nil {
		var none T
		return none, err
	}
	return decode[T]("cache fetch", text)
}

// encode and decode leave out the cause of a failure, because it may quote the value.

func encode[T any](op string, value T) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("sessionsql: %s: JSON cannot express this value of type %T", op, value)
	}
	return text, nil
}

func decode[T any](op string, text []byte) (value T, err error) {
	if json.Unmarshal(text, &value) != nil {
		var none T
		return none, fmt.Errorf("sessionsql: %s: the entry's value is no JSON of type %T", op, value)
	}
	return value, nil
}
