package main

import (
	"context"
	"time"
)

// A kind is a kind of fault.
type kind struct {
	name     string
	from, to time.Duration // how long it holds
	promotes bool          // it changes the primary, so it is the last of its group
	run      func(context.Context, *group, *fault) error
}

// A fault is one planned injection.
type fault struct {
	number  int
	kind    *kind
	pause   time.Duration // before it
	hold    time.Duration
	replica int // the number of the replica, 1 or 2
}

// targets are the servers that a fault befalls.
type targets func(*fault) []int

func onPrimary(*fault) []int { return []int{0} }

func onReplica(f *fault) []int { return []int{f.replica} }

func onBoth(f *fault) []int { return []int{0, f.replica} }

const (
	short = 500 * time.Millisecond
	long  = time.Second

	// hang is long enough for a Store to give up its background calls.
	hang = 2500 * time.Millisecond
)

// allKinds are the kinds of the quick mode.
func allKinds() []*kind {
	return []*kind{
		{"kill -9, primary", short / 6, short, false, kill(onPrimary)},
		{"kill -9, replica", short / 6, short, false, kill(onReplica)},
		{"kill -9, both", short / 6, short, false, kill(onBoth)},
		{"restart, primary", 0, short, false, restart(onPrimary)},
		{"restart, replica", 0, short, false, restart(onReplica)},
		{"restart, both", 0, short, false, restart(onBoth)},
		{"SIGSTOP, primary", hang, hang + long, false, suspend(onPrimary)},
		{"SIGSTOP, replica", long, 2 * long, false, suspend(onReplica)},
		{"SIGSTOP, both", hang, hang + long, false, suspend(onBoth)},
		{"half-open, primary", hang, hang + long, false, halfOpen(onPrimary)},
		{"half-open, replica", long, 2 * long, false, halfOpen(onReplica)},
		{"half-open, both", hang, hang + long, false, halfOpen(onBoth)},
		{"refused connections", short, long, false, refuseConnections},
		{"reset connections", short, long, false, resetConnections},
		{"slow connections", short, long, false, slowConnections(64, 5*time.Millisecond)},
		{"sliced connections", short, long, false, slowConnections(3, 0)},
		{"terminated backends", short, long, false, terminateBackends},
		{"replica lags", lagHold, lagHold + short, false, pauseReplay},
		{"replica stands still", lagHold, lagHold + short, false, stopReceiver},
		{"read-only primary", short, long, false, setting("default_transaction_read_only", "on")},
		{"idle_session_timeout", short, long, false, setting("idle_session_timeout", "20ms")},
		{"statement_timeout", short, long, false, setting("statement_timeout", "3ms")},
		{"pool too small", short, long, false, shrinkPools},
		{"rows locked", long, 2 * long, false, lockRows},
		{"long transactions", long, 2 * long, false, longTransactions},
		{"created_at stepping", short, long, false, stepCreatedAt},
		{"Install of the same version", short, long, false, installMeanwhile},
		{"Install of an older version", short, long, false, installOlder},

		{"promotion", long, 2 * long, true, promote},
		{"replica ahead of the promoted", lagHold, lagHold + short, true, promoteBehind},
		{"promotion, WAL unsent", long, 2 * long, true, promoteUnsent(false)},
		{"promotion, WAL unsent, sync", long, 2 * long, true, promoteUnsent(true)},
	}
}

// lagHold makes a replica lag further than a Store accepts.
const lagHold = maxReplicaLag + 1500*time.Millisecond
