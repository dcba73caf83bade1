package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

var longestCall = regexp.MustCompile(`; the longest call took (\S+) `)

// reshard runs the test that divides 1 shard into 2, 4 and 8 under load, and takes its longest call from the
// line that it prints. The test begins and ends its own servers.
func (b *bench) reshard(ctx context.Context) error {
	const test = "TestShardsAreDividedUnderLoad"
	if b.mode != "full" {
		return leftOut("it takes minutes")
	}
	b.say("reshard: running %s", test)
	out, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^"+test+"$",
		"github.com/sessionsql/postgres/scripts/reshard").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", test, err, out)
	}
	if strings.Contains(string(out), "--- SKIP: "+test) {
		return errNoProxy
	}
	printed := longestCall.FindSubmatch(out)
	if printed == nil {
		return fmt.Errorf("%s does not print its longest call: %s", test, out)
	}
	longest, err := time.ParseDuration(string(printed[1]))
	if err != nil {
		return fmt.Errorf("%s: %w", test, err)
	}
	b.report.Ratios["reshard_longest_call_s"] = longest.Seconds()
	return nil
}
