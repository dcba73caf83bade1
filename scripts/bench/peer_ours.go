package main

import (
	"context"

	"github.com/sessionsql/postgres/sessionsql"
)

// ours uses the Store.
type ours struct {
	db     *database
	store  *sessionsql.Store
	tokens []sessionsql.Token
}

func openOurs(ctx context.Context, db *database, options *sessionsql.Options) (*ours, error) {
	store, err := db.openStore(ctx, options)
	return &ours{db: db, store: store}, err
}

func (o *ours) name() string { return "sessionsql" }
func (o *ours) cpu() meter   { return o.db.servers.postgresMeter() }
func (o *ours) close()       { _ = o.store.Close(context.Background()) }

func (o *ours) seed(ctx context.Context, rows int) error {
	o.tokens = seededTokens(rows)
	return o.db.seedSessions(ctx, rows, freshExpiry)
}

func (o *ours) lookup(ctx context.Context, slot int) error {
	_, err := o.store.Lookup(ctx, o.tokens[slot])
	return err
}

func (o *ours) insert(ctx context.Context) error {
	_, err := o.store.Insert(ctx, payload, nil)
	return err
}

func (o *ours) clear(ctx context.Context) error { return o.db.exec(ctx, "TRUNCATE sessionsql.session") }

func (o *ours) page(ctx context.Context, v view) error {
	session, err := o.store.Lookup(ctx, o.tokens[v.slot])
	if err != nil {
		return err
	}
	if v.write {
		if _, err := o.store.Update(ctx, o.tokens[v.slot], payload, session.Version); err != nil {
			return err
		}
	}
	if v.relog {
		if err := o.store.Revoke(ctx, o.tokens[v.slot]); err != nil {
			return err
		}
		if o.tokens[v.slot], err = o.store.Insert(ctx, payload, nil); err != nil {
			return err
		}
	}
	return nil
}
