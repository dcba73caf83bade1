package sessionsql

import (
	"errors"
	"sync/atomic"
	"time"
)

// An unloggedMemory remembers that replicas cannot read the entries, because an operator made their table
// UNLOGGED. Such a replica is well otherwise, so sessions go on reading from it.
type unloggedMemory struct{ seen atomic.Pointer[time.Time] }

// unloggedFor is how long reads of entries then go to the primary, until a replica is asked again.
const unloggedFor = time.Minute

// note reports whether a replica's error says that it cannot read the table, and remembers it.
func (u *unloggedMemory) note(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.SQLState != "0A000" { // cannot access unlogged relations during recovery
		return false
	}
	setNow(&u.seen)
	return true
}

func (u *unloggedMemory) recently() bool {
	at := u.seen.Load()
	return at != nil && time.Since(*at) < unloggedFor
}
