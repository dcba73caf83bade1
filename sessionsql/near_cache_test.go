package sessionsql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/internal/testkit"
)

// filled returns a near cache with a lease from the instant 0, and one session fetched then.
func filled(own func(*db.NearSession)) (*nearCache, key) { return filledAt(instant{}, own) }

func filledAt(at instant, own func(*db.NearSession)) (*nearCache, key) {
	var c nearCache
	c.init(NearCache{MaxBytes: 1 << 20, MaxStaleness: time.Second})
	c.renew(at)
	k := key{id: 7, hash: newSecret().hash()}
	row := db.NearSession{ID: 7, Version: 3, ExpiresIn: 3600, IsCurrent: true}
	row.Subject.String = "ann"
	if own != nil {
		own(&row)
	}
	fetch := c.begin(k.near(), at)
	fetch.keep(row, time.Minute)
	fetch.end()
	return &c, k
}

func both(d time.Duration) instant { return instant{d, d} }

func TestANearEntryAnswersOnlyWithinItsLease(t *testing.T) {
	const ms = time.Millisecond
	for _, each := range []struct {
		name string
		at   instant
		hit  bool
	}{
		{"at once", both(0), true},
		{"just before the lease ends", both(999 * ms), true},
		{"when the lease ends", both(1000 * ms), false},
		{"the monotonic clock stood still: the machine was suspended", instant{10 * ms, 1000 * ms}, false},
		{"the wall clock was set back", instant{1000 * ms, -time.Hour}, false},
		{"the wall clock was set back within the lease", instant{999 * ms, -time.Hour}, true},
		{"the wall clock was set forward", instant{10 * ms, time.Hour}, false},
	} {
		if c, k := filled(nil); (c.find(k.near(), 0, each.at) != nil) != each.hit {
			t.Errorf("%s: a hit is %v", each.name, !each.hit)
		}
	}
}

func TestANearEntryEndsByItsAge(t *testing.T) {
	for _, each := range []struct {
		name      string
		expiresIn float64 // a minute of which are the last moments
		at        instant
		hit       bool
	}{
		{"just before 30 seconds", 3600, both(29999 * time.Millisecond), true},
		{"after 30 seconds", 3600, both(30 * time.Second), false},
		{
			"after 30 seconds, of which the machine was suspended for 29", 3600,
			instant{time.Second, 30 * time.Second},
			false,
		},
		{"before its last moments", 70, both(9999 * time.Millisecond), true},
		{"in its last moments", 70, both(10 * time.Second), false},
		{"in its last moments from the start", 60, both(0), false},
	} {
		c, k := filled(func(row *db.NearSession) { row.ExpiresIn = each.expiresIn })
		c.renew(each.at)
		if (c.find(k.near(), 0, each.at) != nil) != each.hit {
			t.Errorf("%s: a hit is %v", each.name, !each.hit)
		}
	}
}

func TestANearEntryAnswersItsOwnTokenAlone(t *testing.T) {
	c, k := filled(nil)
	other := key{id: k.id, hash: newSecret().hash()}
	if c.find(other.near(), 0, both(0)) != nil {
		t.Error("another secret opens the session")
	}
	fetch := c.begin(other.near(), both(0)) // its lookup finds no session
	fetch.end()
	if c.find(k.near(), 0, both(0)) == nil {
		t.Error("a lookup with a wrong secret displaces the session")
	}
	if c.find(k.near(), 3, both(0)) == nil || c.find(k.near(), 4, both(0)) != nil {
		t.Error("the least version does not count")
	}
	c, k = filled(func(row *db.NearSession) { row.IsCurrent = false })
	if c.find(k.near(), 0, both(0)) != nil {
		t.Error("what the previous secret opened is kept, although nothing says when its grace ends")
	}
}

func TestAnAnswerIsNotKeptThatAWriteOvertook(t *testing.T) {
	for name, write := range map[string]func(*nearCache, key){
		"drop":    func(c *nearCache, k key) { c.drop(k) },
		"dropAll": func(c *nearCache, _ key) { c.dropAll() },
		"subject": func(c *nearCache, _ key) { c.dropSubject("ann") },
		"many subjects": func(c *nearCache, _ key) {
			for i := range maxMarkedSubjects + 1 {
				c.dropSubject(fmt.Sprint(i))
			}
		},
	} {
		c, k := filled(nil)
		row := c.find(k.near(), 0, both(0)).row
		c.drop(k)
		fetch := c.begin(k.near(), both(0))
		write(c, k)
		fetch.keep(row, 0)
		fetch.end()
		if c.find(k.near(), 0, both(0)) != nil {
			t.Errorf("%s: the older row is answered", name)
		}
	}
}

func TestWritesToASubjectHideItsSessionsUntilAPollHasTheirIDs(t *testing.T) {
	began := now()
	c, k := filledAt(began, nil)
	bob := key{id: 8}
	fetch := c.begin(bob.near(), began)
	fetch.keep(db.NearSession{ID: 8, ExpiresIn: 3600, IsCurrent: true}, 0)
	if c.find(k.near(), 0, began) == nil {
		t.Error("a session is not answered before the write")
	}
	c.dropSubject("ann")
	if c.find(k.near(), 0, began) != nil {
		t.Error("a session of the subject is answered")
	}
	if c.find(bob.near(), 0, began) == nil {
		t.Error("a session of nobody is not answered")
	}
	c.renew(began) // this poll began before the write, so it may lack the ids
	if c.find(k.near(), 0, began) != nil {
		t.Error("the mark went with a poll that began before the write")
	}
	c.drop(k)
	c.renew(now())
	if c.marked.Load() != 0 || len(c.subjects) != 0 {
		t.Error("the mark stays after the poll that has the ids")
	}
}

func TestWithoutAPollNothingIsKept(t *testing.T) {
	var c nearCache
	c.init(NearCache{MaxBytes: 1 << 20, MaxStaleness: time.Second})
	k := key{id: 7}
	fetch := c.begin(k.near(), both(0))
	fetch.keep(db.NearSession{ID: 7, ExpiresIn: 3600, IsCurrent: true}, 0)
	fetch.end()
	if c.find(k.near(), 0, both(0)) != nil {
		t.Error("a session is answered before the first poll")
	}
	if e := c.entries.Get(k.near().row); e != nil {
		t.Errorf("version %d is kept before the first poll", e.row.Version)
	}
}

func TestTheNearCacheHoldsItsBoundInBytes(t *testing.T) {
	const maxBytes = 16 << 20
	random := testkit.Random(t)
	before := testkit.Heap()
	var c nearCache
	c.init(NearCache{MaxBytes: maxBytes, MaxStaleness: time.Second})
	c.renew(instant{})
	kept := 0
	for id := range int64(200_000) {
		row := db.NearSession{ID: id, ExpiresIn: 3600, IsCurrent: true}
		row.Payload = pgtext.Payload(strings.Repeat("x", random.IntN(400)))
		row.Subject.String = strings.Repeat("x", random.IntN(20))
		fetch := c.begin(key{id: id}.near(), instant{})
		fetch.keep(row, 0)
		fetch.end()
	}
	grown := testkit.Heap() - before
	for id := range int64(200_000) {
		if c.find(key{id: id}.near(), 0, instant{}) != nil {
			kept++
		}
	}
	if grown < maxBytes/2 || grown > maxBytes*5/4 {
		t.Errorf("%d sessions take %d bytes of the heap; the bound is %d", kept, grown, maxBytes)
	}
}
