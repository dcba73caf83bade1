package main

import "context"

// serve makes one call for a user.
func (c *caller) serve(u *user) {
	recent := u.recent()
	n := c.rng.IntN(100)
	switch {
	case n < 20 || len(recent) == 0:
		c.login(u)
		return
	case n < 30:
		c.list(u, recent)
		return
	}
	s := recent[c.rng.IntN(len(recent))]
	other := recent[c.rng.IntN(len(recent))]
	switch {
	case n < 40 && other != s:
		c.revokeListed(u, s, other)
	case n < 43:
		c.revokeSubject(u, s)
	case n < 46:
		c.revokeSubject(u, nil)
	case n < 50:
		c.rotate(s)
	case n < 60:
		c.update(s)
	default:
		c.lookup(s)
	}
}

// login makes a session of a user, which ends the oldest ones.
func (c *caller) login(u *user) {
	s := &session{id: c.g.history.newID(), home: -1, user: u}
	one := c.create(s, &insertOptions{Subject: u.subject, MaxSessions: maxSessions})
	a := &act{call: *one}
	a.verb, a.unseen = endCapped, one.verb == insertTx
	if s.tokens != nil {
		s.add(one)
		a.made = s
		u.addSession(s)
		c.g.history.addSession(s)
	}
	u.add(a)
}

func (c *caller) revokeListed(u *user, s, other *session) {
	one, token := c.begin(endListed, s, 5)
	a := &act{shown: s, id: other.row}
	c.call(one, func(ctx context.Context) error {
		return c.g.stores[c.store].RevokeListed(ctx, token, a.id)
	})
	a.call = *one
	u.add(a)
}

// revokeSubject ends every session of a user, or all but one.
func (c *caller) revokeSubject(u *user, except *session) {
	one, token := &call{verb: endSubject, store: c.store}, ""
	if except != nil {
		one, token = c.begin(endSubject, except, 5)
	}
	c.call(one, func(ctx context.Context) error {
		return c.g.stores[c.store].RevokeSubject(ctx, u.subject, token)
	})
	u.add(&act{call: *one, shown: except})
}

// list lists the sessions of a user, who never has more than the cap.
func (c *caller) list(u *user, among []*session) {
	one := &call{verb: listed, store: c.store}
	a := &act{among: among}
	c.call(one, func(ctx context.Context) (err error) {
		a.ids, err = c.g.stores[c.store].List(ctx, u.subject)
		return err
	})
	if len(a.ids) > maxSessions {
		c.g.report("store %d: %d sessions of a user who may have %d", c.store, len(a.ids), maxSessions)
	}
	a.call = *one
	u.add(a)
}
