package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func ExampleStore_Cache() {
	ctx := context.Background()
	store := openStore(ctx)
	defer func() { _ = store.Close(ctx) }()

	pages := store.Cache("pages", nil)
	if err := pages.Set(ctx, "/about", []byte("<h1>About</h1>"), time.Hour); err != nil {
		log.Fatal(err)
	}
	entry, err := pages.Get(ctx, "/about")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(entry.Value), entry.ExpiresIn.Round(time.Hour))

	if err := pages.Delete(ctx, "/about"); err != nil {
		log.Fatal(err)
	}
	_, err = pages.Get(ctx, "/about")
	fmt.Println(errors.Is(err, sessionsql.ErrNoEntry))
	// Output:
	// <h1>About</h1> 1h0m0s
	// true
}

// Of all callers, in every program, one asks the source. When the price is a minute old, callers get it at
// once, and one of them asks again in the background.
func ExampleJSON() {
	ctx := context.Background()
	store := openStore(ctx)
	defer func() { _ = store.Close(ctx) }()

	type price struct {
		Amount   int
		Currency string
	}
	prices := sessionsql.JSON[price](store.Cache("prices", &sessionsql.CacheOptions{
		StaleFor: time.Hour,
		Jitter:   0.1,
	}))
	ask := func(context.Context) (price, error) {
		fmt.Println("asking the source")
		return price{750, "EUR"}, nil
	}
	for range 3 {
		lamp, err := prices.Fetch(ctx, "lamp", time.Minute, ask)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(lamp.Amount, lamp.Currency)
	}
	// Output:
	// asking the source
	// 750 EUR
	// 750 EUR
	// 750 EUR
}

// At most three attempts a minute. The first one of a minute gives the counter its TTL.
func ExampleCache_Increment() {
	ctx := context.Background()
	store := openStore(ctx)
	defer func() { _ = store.Close(ctx) }()

	attempts := store.Cache("login attempts", nil)
	for range 4 {
		n, err := attempts.Increment(ctx, "203.0.113.7", 1, time.Minute)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n, n <= 3)
	}
	// Output:
	// 1 true
	// 2 true
	// 3 true
	// 4 false
}

// A lock belongs to the one who knows its value. It ends by itself if its owner dies.
func ExampleCache_Swap() {
	ctx := context.Background()
	store := openStore(ctx)
	defer func() { _ = store.Close(ctx) }()

	locks := store.Cache("locks", nil)
	mine := []byte("worker 7") // in earnest: random bytes
	locked, err := locks.Add(ctx, "nightly report", mine, time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("locked:", locked)
	again, err := locks.Add(ctx, "nightly report", []byte("worker 8"), time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("locked again:", again)
	fmt.Println("renewed:", locks.Swap(ctx, "nightly report", mine, mine, time.Minute) == nil)
	err = locks.Swap(ctx, "nightly report", []byte("worker 8"), nil, 0)
	fmt.Println("released by another:", !errors.Is(err, sessionsql.ErrConflict))
	fmt.Println("released:", locks.Swap(ctx, "nightly report", mine, nil, 0) == nil)
	// Output:
	// locked: true
	// locked again: false
	// renewed: true
	// released by another: false
	// released: true
}

func ExampleCache_All() {
	ctx := context.Background()
	store := openStore(ctx)
	defer func() { _ = store.Close(ctx) }()

	flags := store.Cache("flags", &sessionsql.CacheOptions{KeepKeys: true})
	if err := flags.Set(ctx, "new checkout", []byte("on"), 0); err != nil {
		log.Fatal(err)
	}
	for flag, err := range flags.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(flag.Key, string(flag.Value), flag.ExpiresIn)
	}
	// Output: new checkout on 0s
}
