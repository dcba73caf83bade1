package sessionsql

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestAShutGateWaitsForTheCallsUnderWay lets calls enter while the gate is shut.
func TestAShutGateWaitsForTheCallsUnderWay(t *testing.T) {
	for range 200 {
		var g gate
		var inside, refused atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for g.enter() {
					inside.Add(1)
					runtime.Gosched()
					inside.Add(-1)
					g.leave()
				}
				refused.Add(1)
			})
		}
		runtime.Gosched()
		if !g.shut() {
			t.Fatal("the gate was shut before")
		}
		g.wait()
		if n := inside.Load(); n != 0 {
			t.Fatalf("%d calls are under way after the wait", n)
		}
		callers.Wait()
		if g.enter() || g.shut() || refused.Load() != 8 {
			t.Fatal("the gate is open")
		}
		g.wait()
	}
}
