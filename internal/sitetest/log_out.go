package sitetest

import "testing"

func aLogOutIsFinal(t *testing.T, shop Shop) {
	s := open(t, shop)
	b := s.Browser()
	b.OK("/add?item=tea")
	b.OK("/login?name=" + Subject("ann"))
	token := b.Token()
	b.OK("/logout")
	s.MustBeDead(token, "after the logout")
	if b.Token() != "" {
		t.Error("the cookie is still there")
	}
	b.WantCart("map[]")
	b.Plant(token)
	b.WantCart("map[]")
	b.OK("/logout") // once more, from another tab
	b.Plant(token)
	b.OK("/add?item=milk")
	b.WantCart("map[milk:1]")
	s.MustBeDead(token, "after another session began")
}

func aLogOutEverywhereEndsEveryDevice(t *testing.T, shop Shop) {
	s := open(t, shop)
	ann, bob := Subject("ann"), Subject("bob")
	phone, laptop, bobs := s.Browser(), s.Browser(), s.Browser()
	for b, name := range map[*Browser]string{phone: ann, laptop: ann, bobs: bob} {
		b.OK("/add?item=tea")
		b.OK("/login?name=" + name)
	}
	ended, err := s.Store.RevokeSubject(t.Context(), ann, "")
	must(t, err)
	if ended != 2 {
		t.Errorf("%d sessions ended, want 2", ended)
	}
	phone.WantCart("map[]")
	laptop.WantCart("map[]")
	bobs.WantCart("map[tea:1]")
}
