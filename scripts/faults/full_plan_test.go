package main

import (
	"strings"
	"testing"
)

// TestFullPlanDependsOnSeedAlone also checks that each kind happens as often as wanted.
func TestFullPlanDependsOnSeedAlone(t *testing.T) {
	const times = 3
	printed := func(seed uint64) string {
		sites := allSites()
		kinds := kindsOf(sites)
		p := newFullPlan(seed, sites, kinds, times, newPlan(seed, allKinds(), 1))
		happens := map[*kind]int{}
		for i, group := range p {
			if i > 0 && group.number != p[i-1].number+1 {
				t.Errorf("group %d comes after group %d", group.number, p[i-1].number)
			}
			for _, f := range group.faults {
				happens[f.kind]++
			}
		}
		for _, k := range kinds {
			if happens[k] != times {
				t.Errorf("%s happens %d times", k.name, happens[k])
			}
		}
		var text strings.Builder
		p.print(&text)
		return text.String()
	}
	if a, b := printed(7), printed(7); a != b {
		t.Errorf("two plans of one seed differ:\n%s\n%s", a, b)
	}
	if printed(7) == printed(8) {
		t.Error("the plans of two seeds are the same")
	}
}
