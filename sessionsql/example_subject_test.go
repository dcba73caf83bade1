package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func ExampleStore_Rotate() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	anonymous, err := store.Insert(ctx, `{"cart": [1]}`, nil)
	if err != nil {
		log.Fatal(err)
	}
	// A login rotates the session, which keeps its cart and gets an owner. The old token opens nothing.
	token, err := store.Rotate(ctx, anonymous, &sessionsql.RotateOptions{Subject: "ann"})
	if err != nil {
		log.Fatal(err)
	}
	sess, err := store.Lookup(ctx, token)
	fmt.Println(sess.Subject, sess.Payload, err)
	_, err = store.Lookup(ctx, anonymous)
	fmt.Println(err)

	// A later rotate keeps the old token for 10 seconds, so that requests under way succeed.
	renewed, err := store.Rotate(ctx, token, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.Lookup(ctx, token)
	fmt.Println("old, within 10 seconds:", err)
	_, err = store.Rotate(ctx, token, nil)
	fmt.Println("rotated at the same moment elsewhere:", errors.Is(err, sessionsql.ErrRotated))
	_, err = store.Lookup(ctx, renewed)
	fmt.Println("new:", err)
	// Output:
	// ann {"cart": [1]} <nil>
	// sessionsql: no such session
	// old, within 10 seconds: <nil>
	// rotated at the same moment elsewhere: true
	// new: <nil>
}

func ExampleStore_RevokeSubject() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	login := func(payload string) sessionsql.Token {
		token, err := store.Insert(ctx, payload, &sessionsql.InsertOptions{Subject: "bob"})
		if err != nil {
			log.Fatal(err)
		}
		return token
	}
	laptop, phone := login("laptop"), login("phone")

	// The password was changed on the laptop: everything else is logged out.
	ended, err := store.RevokeSubject(ctx, "bob", laptop)
	fmt.Println(ended, err)
	_, err = store.Lookup(ctx, phone)
	fmt.Println("phone:", err)
	// The account is closed: all of it.
	ended, err = store.RevokeSubject(ctx, "bob", "")
	fmt.Println(ended, err)
	_, err = store.Lookup(ctx, laptop)
	fmt.Println("laptop:", err)
	// Output:
	// 1 <nil>
	// phone: sessionsql: no such session
	// 1 <nil>
	// laptop: sessionsql: no such session
}

func ExampleStore_ListSubject() {
	ctx := context.Background()
	store := openStore(ctx)
	defer store.Close(ctx)

	var current sessionsql.Token
	for _, own := range []sessionsql.InsertOptions{
		{Subject: "eve", Label: "Safari on iPad", IdleTimeout: 30 * 24 * time.Hour}, // remembered
		{Subject: "eve", Label: "Chrome on Windows", IdleTimeout: 15 * time.Minute},
		{Subject: "eve", Label: "Firefox on Linux", MaxSessions: 2}, // of at most two, so the oldest ends
	} {
		token, err := store.Insert(ctx, "p", &own)
		if err != nil {
			log.Fatal(err)
		}
		current = token
	}
	sessions, err := store.ListSubject(ctx, "eve", current)
	if err != nil {
		log.Fatal(err)
	}
	for _, sess := range sessions {
		fmt.Println(sess.Label, sess.Current, sess.ExpiresIn.Round(time.Minute))
		if !sess.Current {
			fmt.Println(store.RevokeListed(ctx, current, sess.ID)) // a click on "end this session"
		}
	}
	// Output:
	// Firefox on Linux true 40m0s
	// Chrome on Windows false 20m0s
	// <nil>
}
