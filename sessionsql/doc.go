// Package sessionsql keeps web sessions in PostgreSQL: in the database that the application already has,
// crash-safe and replicated. Every operation is a function in the schema sessionsql (folder sql of this
// module). This package composes them over one primary and any number of read replicas.
//
// A whole program, on a database in which [Install] has run:
//
//	package main
//
//	import (
//		"context"
//		"fmt"
//		"os"
//
//		"github.com/sessionsql/postgres/sessionsql"
//	)
//
//	func main() {
//		ctx := context.Background()
//		store := must(sessionsql.Open(ctx, os.Getenv("DATABASE_URL"), nil, nil)) // nil: replicas, options
//		defer store.Close(ctx)
//		login := &sessionsql.RotateOptions{Subject: "user:7"}
//		token := must(store.Insert(ctx, `{"cart": [1]}`, nil))       // string(token) goes into the cookie
//		token = must(store.Rotate(ctx, token, login))                // at login: a new secret, and an owner
//		sess := must(store.Lookup(ctx, token))                       // kept alive; ErrNoSession: log in
//		must(store.Update(ctx, token, `{"cart": []}`, sess.Version)) // ErrConflict: somebody else wrote
//		ended := must(store.RevokeSubject(ctx, "user:7", ""))        // logged out everywhere
//		fmt.Println(sess.Payload, ended)                             // Output: {"cart": [1]} 1
//	}
//
//	func must[T any](value T, err error) T {
//		if err != nil {
//			panic(err)
//		}
//		return value
//	}
//
// [Store.Cache] returns a cache: values by key in the same servers, with Get, Set, Touch, Delete, Add, Swap,
// Increment and Fetch.
//
// # What is promised
//
// A token opens its own session and no other, also after a crash in which PostgreSQL hands out ids again. An
// expired or revoked session is never brought back, neither by a late write nor by a late keepalive. A
// revoked session stays revoked through a crash. A database that cannot be reached is [ErrUnavailable], never
// [ErrNoSession]. All clocks are the database's.
//
// # What may happen
//
// Insert and Update commit asynchronously: a crash of the server may lose the writes of the last 0.6 seconds,
// and the user logs in again. Where that is too much, use [Store.InsertTx], which is as durable as the
// transaction that it is given. Another program may read a session from a replica for some milliseconds after
// it was revoked; see [Options.MaxReplicaLag].
//
// # Reading the source
//
// One operation has one name in four places: sql/functions/touch_batch.sql, sql/queries/touch_batch.sql,
// db/touch_batch.sql.go (generated) and sessionsql/touch_batch.go. Begin with lookup. The folder docs says
// which file to change for what, and how to run, watch and secure a Store.
package sessionsql
