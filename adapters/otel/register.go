package sessionsqlotel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sessionsql/postgres/sessionsql"
)

// Options says how a Store's metrics are exported; nil is the same as the zero value.
type Options struct {
	// MeterProvider makes the instruments. Defaults to otel.GetMeterProvider().
	MeterProvider metric.MeterProvider

	// Attributes are added to every measurement. If a program has several Stores, each needs other
	// attributes, so that the measurements can be told apart. Defaults to none.
	Attributes []attribute.KeyValue
}

// Register exports the Stats of a Store with every collection, until Unregister of the registration is
// called. A closed Store keeps its last figures.
//
// It returns an error when the Store is nil or the MeterProvider refuses an instrument, for example because
// it exists with another unit or description.
func Register(store *sessionsql.Store, options *Options) (metric.Registration, error) {
	if store == nil {
		return nil, errors.New("sessionsqlotel: register: the Store is nil")
	}
	return register(store.Stats, options)
}

func register(stats func() sessionsql.Stats, options *Options) (metric.Registration, error) {
	var own Options
	if options != nil {
		own = *options
	}
	if own.MeterProvider == nil {
		own.MeterProvider = otel.GetMeterProvider()
	}
	meter := own.MeterProvider.Meter("github.com/sessionsql/postgres/adapters/otel")
	made := make([]metric.Float64Observable, len(instruments))
	observables := make([]metric.Observable, len(instruments))
	for i, each := range instruments {
		observable, err := each.make(meter)
		if err != nil {
			return nil, fmt.Errorf("sessionsqlotel: register: %w", err)
		}
		made[i], observables[i] = observable, observable
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		now := stats()
		for i, each := range instruments {
			each.read(&now, func(value float64, attributes ...attribute.KeyValue) {
				all := slices.Concat(own.Attributes, attributes)
				observer.ObserveFloat64(made[i], value, metric.WithAttributes(all...))
			})
		}
		return nil
	}, observables...)
	if err != nil {
		return nil, fmt.Errorf("sessionsqlotel: register: %w", err)
	}
	return registration, nil
}
