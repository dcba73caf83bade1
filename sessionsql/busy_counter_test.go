package sessionsql

import (
	"runtime"
	"sync"
	"testing"
)

func TestABusyCounterLosesNothing(t *testing.T) {
	const callers, each = 100, 5_000
	var c busyCounter
	var wait sync.WaitGroup
	for range callers {
		wait.Go(func() {
			for i := range each {
				if c.add(); i%1000 == 0 {
					runtime.GC() // empties the pool
				}
			}
		})
	}
	wait.Wait()
	if n := c.sum(); n != callers*each {
		t.Errorf("%d are counted, want %d", n, callers*each)
	}
}
