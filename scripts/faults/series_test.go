package main

import (
	"testing"
	"time"
)

func TestAnOutageCountsForTheFaultThatCausedIt(t *testing.T) {
	ms := func(from, to int64) interval { return interval{from * 1e6, to * 1e6} }
	s := &series{period: 100 * time.Millisecond}
	add := func(span interval, ok bool) { s.add(result{span.from, span.to, ok}) }
	for from := int64(0); from < 1000; from += 100 {
		add(ms(from, from+10), true)
	}
	for from := int64(1000); from < 2900; from += 100 {
		add(ms(from, from+1000), false)
	}
	add(ms(2900, 3900), false) // the server answers again at 3500
	add(ms(3000, 3950), true)
	for from := int64(3500); from < 6000; from += 100 {
		add(ms(from, from+10), true)
	}
	for name, test := range map[string]struct{ window, want interval }{
		"the fault":        {ms(950, 3800), ms(1000, 3510)},
		"the one after it": {ms(3850, 5000), interval{}},
	} {
		if got := s.outage(test.window); got.length() != test.want.length() {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
