package sitetest

import (
	"fmt"
	"sync"
	"testing"
)

func concurrentSavesLoseNothing(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	b.OK("/add?item=kept")
	const tabs = 16
	want := map[string]int{"kept": 1}
	var loaded, wait sync.WaitGroup
	loaded.Add(tabs)
	s.during = func() { loaded.Done(); loaded.Wait() }
	for i := range tabs {
		want[fmt.Sprint(i)] = 1
		wait.Go(func() { b.OK(fmt.Sprintf("/add?item=%d", i)) })
	}
	wait.Wait()
	b.WantCart(fmt.Sprint(want))
}

// A session that ends while a request is under way stays dead, and no other takes its place.
func aLateSaveBringsNothingBack(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	b.OK("/add?item=tea")
	s.during = func() { must(t, s.Store.Revoke(t.Context(), b.Token())) }
	before := s.Store.Stats().Inserts
	if b.WantNoSession("/add?item=milk").SetsCookie() {
		t.Error("the cookie is touched, which may be a newer one by now")
	}
	if got := s.Store.Stats().Inserts - before; got != 0 {
		t.Errorf("%d new sessions", got)
	}
	b.WantCart("map[]")
}
