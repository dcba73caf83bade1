package sessionsqlfiber

import (
	"context"
	"errors"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

// A Storage implements fiber.Storage over one cache. It is safe for concurrent use. A method without a
// context is bounded by [sessionsql.Options].Timeout. If the database does not answer, methods return
// [sessionsql.ErrUnavailable], and never look as if a key were missing.
type Storage struct{ cache *sessionsql.Cache }

// NewStorage returns a Storage over a cache of a name and options as [sessionsql.Store.Cache] takes them, but
// always with PrimaryFirst, because fiber's middleware writes back what it has read. It makes no round trip.
func NewStorage(store *sessionsql.Store, name string, options *sessionsql.CacheOptions) *Storage {
	o := sessionsql.CacheOptions{}
	if options != nil {
		o = *options
	}
	o.PrimaryFirst = true
	return &Storage{store.Cache(name, &o)}
}

// Get is GetWithContext without a context.
func (s *Storage) Get(key string) ([]byte, error) { return s.GetWithContext(context.Background(), key) }

// GetWithContext returns the value of a key, and nil if the key is missing, expired or empty.
func (s *Storage) GetWithContext(ctx context.Context, key string) ([]byte, error) {
	if key == "" {
		return nil, nil
	}
	entry, err := s.cache.Get(withoutFiber(ctx), key)
	if errors.Is(err, sessionsql.ErrNoEntry) {
		return nil, nil
	}
	return entry.Value, err
}

// Set is SetWithContext without a context.
func (s *Storage) Set(key string, value []byte, expiration time.Duration) error {
	return s.SetWithContext(context.Background(), key, value, expiration)
}

// SetWithContext stores the value of a key, for ever if expiration is 0. It ignores an empty key or value. In
// a Final cache it also ignores a key that was deleted in the last hour.
func (s *Storage) SetWithContext(
	ctx context.Context, key string, value []byte, expiration time.Duration,
) error {
	if key == "" || len(value) == 0 {
		return nil
	}
	err := s.cache.Set(withoutFiber(ctx), key, value, expiration)
	if errors.Is(err, sessionsql.ErrEntryEnded) {
		return nil
	}
	return err
}

// Delete is DeleteWithContext without a context.
func (s *Storage) Delete(key string) error { return s.DeleteWithContext(context.Background(), key) }

// DeleteWithContext deletes a key. It returns nil if there is no such key.
func (s *Storage) DeleteWithContext(ctx context.Context, key string) error {
	if key == "" {
		return nil
	}
	return s.cache.Delete(withoutFiber(ctx), key)
}

// Reset is ResetWithContext without a context.
func (s *Storage) Reset() error { return s.ResetWithContext(context.Background()) }

// ResetWithContext deletes every key of the cache.
func (s *Storage) ResetWithContext(ctx context.Context) error {
	return s.cache.Clear(withoutFiber(ctx))
}

// Close does nothing, because other caches may share the sessionsql.Store. Close that one.
func (s *Storage) Close() error { return nil }

// withoutFiber returns the context that a fiber.Ctx holds, and any other context as it is. A fiber.Ctx never
// ends, and fiber uses it again for another request, while a batch may still ask it for values.
func withoutFiber(ctx context.Context) context.Context {
	if fiber, ok := ctx.(interface{ Context() context.Context }); ok {
		return fiber.Context()
	}
	return ctx
}
