package sessionsql

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// neededVersion is the oldest bundle that serves this package. What newer ones added (labels, RevokeListed, caps on
// Rotate) returns ErrNotInstalled where it is missing.
const neededVersion = "0.1.0"

// A VersionError says that the installed bundle and this program are too far apart. A program works with every bundle of
// its own major version that is not older than it needs, so that old and new programs run side by side.
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
	return fmt.Sprintf("sessionsql: bundle %s is installed, this program needs %s or later of the same major version: "+
		"the %s is too old; %s", e.Installed, e.Needed, e.TooOld, cure)
}

// checkVersion decides whether an installed bundle serves this program.
func checkVersion(installed string) error {
	there, needed := parseVersion(installed), parseVersion(neededVersion)
	switch {
	case there[0] > needed[0]:
		return &VersionError{Installed: installed, Needed: neededVersion, TooOld: "program"}
	case slices.Compare(there, needed) < 0:
		return &VersionError{Installed: installed, Needed: neededVersion, TooOld: "database"}
	}
	return nil
}

// parseVersion returns the numbers of a version; what is none counts as 0.
func parseVersion(version string) []int {
	var numbers []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		numbers = append(numbers, n)
	}
	return numbers
}

// Version returns the version of the bundle that the primary holds. It returns ErrNotInstalled, ErrClosed or
// ErrUnavailable.
func (s *Store) Version(ctx context.Context) (string, error) {
	if !s.calls.enter() {
		return "", ErrClosed
	}
	defer s.calls.leave()
	return s.version(ctx, "version")
}

func (s *Store) version(ctx context.Context, op string) (string, error) {
	var installed string
	err := s.primary.read(ctx, op, func(ctx context.Context, on Tx) (err error) {
		installed, err = s.queries.Version(ctx, on)
		return err
	})
	return installed, err
}
