// Package sessionsql keeps web sessions in PostgreSQL: on the database that the application already has, crash-safe and
// replicated. Every operation is a function in the schema sessionsql (folder sql of this module); this package composes them
// over one primary and any number of read replicas.
//
// A whole program:
//
//	package main
//
//	import (
//		"context"
//		"database/sql"
//		"errors"
//		"fmt"
//		"log"
//		"os"
//
//		_ "github.com/jackc/pgx/v5/stdlib"
//		"github.com/sessionsql/postgres/sessionsql"
//	)
//
//	func main() {
//		ctx := context.Background()
//		primary, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
//		if err != nil {
//			log.Fatal(err)
//		}
//		if err := sessionsql.Install(ctx, primary); err != nil { // once; idempotent
//			log.Fatal(err)
//		}
//		store, err := sessionsql.OpenDB(primary, nil, nil)
//		if err != nil {
//			log.Fatal(err)
//		}
//		defer store.Close(ctx)
//
//		token, err := store.Insert(ctx, `{"user": 7}`, nil) // string(token) goes into the cookie
//		if err != nil {
//			log.Fatal(err)
//		}
//		sess, err := store.Lookup(ctx, token) // and is kept alive by that
//		if err != nil {
//			log.Fatal(err)
//		}
//		fmt.Println(sess.Payload)
//		if _, err := store.Update(ctx, token, `{"user": 7, "cart": [1]}`, sess.Version); err != nil {
//			log.Fatal(err)
//		}
//		if err := store.Revoke(ctx, token); err != nil {
//			log.Fatal(err)
//		}
//		_, err = store.Lookup(ctx, token)
//		fmt.Println(errors.Is(err, sessionsql.ErrNoSession))
//	}
//
// # What is promised
//
// A token opens its own session and no other, also after a crash in which PostgreSQL hands out ids again. An expired or
// revoked session is never brought back, not by a late write and not by a late keepalive. A revoked session stays revoked
// through a crash. A database that cannot be reached is [ErrUnavailable], never [ErrNoSession]. All clocks are the database's.
//
// # What may happen
//
// Insert and Update commit asynchronously: when the server crashes, what was written in the last half second or so may be
// lost, and the user logs in again. Where that is too much, use [Store.InsertTx], which is as durable as the transaction it
// is given. Another program may read a session from a replica for some milliseconds after it was revoked; see
// [Options.MaxReplicaLag].
//
// # Reading the source
//
// One operation has one name in four places: sql/functions/touch_batch.sql, sql/queries/touch_batch.sql,
// db/touch_batch.sql.go (generated) and sessionsql/touch_batch.go. Begin with lookup.
package sessionsql
