package sessionsql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// neededVersion is the oldest bundle that serves this package. A call that needs a newer one (labels,
// RevokeListed, caps on Rotate) returns ErrNotInstalled.
const neededVersion = "0.1.0"

// A VersionError says that the installed bundle does not serve this program. A program works with every
// bundle of its own major version that is not older than it needs, so old and new programs run side by side.
type VersionError struct {
	Installed string // version of the bundle in the database
	Needed    string // oldest version of the bundle that serves this program
	TooOld    string // "database" or "program": the side to upgrade
}

// Error implements error.
func (e *VersionError) Error() string {
	cure := "call sessionsql.Install, which upgrades it"
	if e.TooOld == "program" {
		cure = "build it with a newer github.com/sessionsql/postgres"
	}
	return fmt.Sprintf("sessionsql: bundle %s is installed, this program needs %s or later "+
		"of the same major version: the %s is too old; %s", e.Installed, e.Needed, e.TooOld, cure)
}

func checkBundleVersion(installed string) error {
	there, needed := parseVersion(installed), parseVersion(neededVersion)
	switch {
	case there[0] > needed[0]:
		return &VersionError{Installed: installed, Needed: neededVersion, TooOld: "program"}
	case slices.Compare(there, needed) < 0:
		return &VersionError{Installed: installed, Needed: neededVersion, TooOld: "database"}
	}
	return nil
}

// parseVersion returns the numbers of a version. A part that is no number counts as 0.
func parseVersion(version string) []int {
	var numbers []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		numbers = append(numbers, n)
	}
	return numbers
}
