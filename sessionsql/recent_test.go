package sessionsql

import "testing"

func TestRecentWritesAreForgottenOnlyWhenEveryReplicaHasThem(t *testing.T) {
	k := func(i int64) key { return key{id: i} }
	var r recentWrites
	want := func(step string, keys map[int64]bool) {
		t.Helper()
		for id, want := range keys {
			if r.has(k(id)) != want {
				t.Errorf("%s: has(%d) is %v", step, id, !want)
			}
		}
	}
	r.mark(k(1))
	want("written", map[int64]bool{1: true, 2: false})
	r.forget(1000)
	want("position not read yet", map[int64]bool{1: true})
	r.closeGeneration()
	r.mark(k(2)) // its WAL may lie behind the position that is read next
	r.covered(100)
	r.forget(99)
	want("replica at 99 of 100", map[int64]bool{1: true, 2: true})
	r.forget(100)
	want("replica at 100", map[int64]bool{1: false, 2: true})
	if r.reached(99) || !r.reached(100) {
		t.Error("a replica would be read although it lacks a forgotten write")
	}
	r.closeGeneration()
	r.covered(50) // a new primary, which lacks WAL of the old one
	r.forget(50)
	want("after a failover", map[int64]bool{2: false})
	if !r.reached(50) {
		t.Error("the new primary's replica would never be read")
	}
	for i := range int64(maxRecentWrites + 2) {
		r.mark(k(i))
	}
	want("beyond the bound", map[int64]bool{maxRecentWrites + 100: true})
	r.closeGeneration()
	r.covered(60)
	r.forget(60)
	want("drained", map[int64]bool{1: false, maxRecentWrites + 100: false})
}

func TestRecentWritesCountForEverySecretOfASession(t *testing.T) {
	a, b := newSecret(), newSecret()
	var r recentWrites
	r.mark(key{id: 1, hash: a.hash()})
	if !r.has(key{id: 1, hash: b.hash()}) {
		t.Error("a replica's older row of a rotated session would be read through the other secret")
	}
}

func TestRecentWritesCostNothingWithoutReplicas(t *testing.T) {
	r := recentWrites{off: true}
	for i := range int64(1000) {
		r.mark(key{id: i})
		r.markSubject("ann")
		r.closeGeneration()
	}
	if r.size != 0 || len(r.generations) > 1 {
		t.Errorf("%d writes in %d generations", r.size, len(r.generations))
	}
}

func TestRecentWritesPileUpNoGenerationsInAnOutage(t *testing.T) {
	var r recentWrites
	for i := range int64(1000) {
		r.mark(key{id: i})
		r.closeGeneration() // the look at the servers then fails
	}
	if len(r.generations) > 2 {
		t.Errorf("%d generations", len(r.generations))
	}
	r.closeGeneration()
	r.covered(100)
	r.forget(100)
	if r.has(key{id: 0}) {
		t.Error("a covered write is still remembered")
	}
	if !r.has(key{id: 999}) {
		t.Error("a write is forgotten although it came after the generation was closed")
	}
}

func TestRecentWritesKnowSubjects(t *testing.T) {
	var r recentWrites
	r.markSubject("ann")
	if !r.hasSubject("ann") || r.hasSubject("bob") || r.has(key{id: 1}) {
		t.Error("a write of a subject counts for another subject")
	}
	r.closeGeneration()
	r.covered(1)
	r.forget(1)
	if r.hasSubject("ann") || r.size != 0 {
		t.Error("a subject is never forgotten")
	}
}
