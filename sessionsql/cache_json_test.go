package sessionsql_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestJSONCacheKeepsValuesOfItsType(t *testing.T) {
	type product struct {
		Name  string
		Price float64
	}
	d := newDatabase(t)
	ctx, cache := t.Context(), d.Store(t, nil).Cache("c", nil)
	products := sessionsql.JSON[product](cache)
	if got, err := products.Get(ctx, "k"); err != sessionsql.ErrNoEntry || got != (product{}) {
		t.Errorf("Get: %v, %v", got, err)
	}
	lamp := product{"lamp", 7.5}
	must(t, products.Set(ctx, "k", lamp, time.Hour))
	if got, err := products.Get(ctx, "k"); err != nil || got != lamp {
		t.Errorf("Get: %v, %v", got, err)
	}
	for range 2 {
		got, err := products.Fetch(ctx, "fetched", time.Hour, func(context.Context) (product, error) {
			return lamp, nil
		})
		if err != nil || got != lamp {
			t.Errorf("Fetch: %v, %v", got, err)
		}
	}
	failure := errors.New("the source is down")
	_, err := products.Fetch(ctx, "failed", 0, func(context.Context) (product, error) {
		return lamp, failure
	})
	if err != failure {
		t.Errorf("Fetch: %v", err)
	}
	wantNoEntry(t, cache, "failed")

	// The errors of encoding/json may quote the value.
	mustSet(t, cache, "k", `{"Price": 424242canary}`, 0)
	if got, err := products.Get(ctx, "k"); err == nil || got != (product{}) || quotesCanary(err) {
		t.Errorf("Get: %v, %v", got, err)
	}
	mustSet(t, cache, "k", `{"Name": "canary", "Price": "canary"}`, 0)
	if got, err := products.Get(ctx, "k"); err == nil || got != (product{}) || quotesCanary(err) {
		t.Errorf("Get: %v, %v", got, err)
	}
	if err := products.Set(ctx, "k", product{"canary", math.Inf(1)}, 0); err == nil || quotesCanary(err) {
		t.Errorf("Set: %v", err)
	}
	_, err = products.Fetch(ctx, "inf", 0, func(context.Context) (product, error) {
		return product{"canary", math.NaN()}, nil
	})
	if err == nil || quotesCanary(err) {
		t.Errorf("Fetch: %v", err)
	}
}

func quotesCanary(err error) bool { return strings.Contains(err.Error(), "canary") }
