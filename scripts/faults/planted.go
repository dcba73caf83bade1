//go:build planted

package main

import (
	"flag"
	"fmt"
	"os"
)

// bug names the one of six ways in which this build breaks the Store, to show that the model finds it.
var bug = flag.String("bug", "", "which bug to plant: update, revoke, lookup, rotate, insert or entry")

// plant puts the bug between the workload and the Store.
func plant(s sessions) sessions {
	switch *bug {
	case "update":
		return &forgetfulUpdate{sessions: s}
	case "revoke":
		return &forgetfulRevoke{sessions: s}
	case "lookup":
		return &cachedLookup{sessions: s}
	case "rotate":
		return &endlessGrace{sessions: s}
	case "entry":
		return &forgetfulDelete{sessions: s}
	case "insert":
		return &sharedInsert{sessions: s}
	}
	fmt.Fprintf(os.Stderr, "faults: no such bug: %q\n", *bug)
	os.Exit(2)
	return nil
}
