package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A titledRace is a race and the title of its panel.
type titledRace struct{ race, title string }

var (
	sessionRaces = []titledRace{
		{"lookup", "Lookups"},
		{"insert", "New sessions"},
		{"page-load", "Page views"},
	}
	entryRaces = []titledRace{
		{"cache: get", "Cache gets"},
		{"cache: set", "Cache sets"},
		{"cache: get and touch", "Get and touch"},
		{"cache: fetch", "Fetches"},
		{"cache: increment", "Increments"},
		{"adapters: scs page", "Page views by scs"},
		{"adapters: fiber get", "Fiber's gets"},
		{"adapters: fiber set", "Fiber's sets"},
	}
)

// throughputPanels are bars, one panel for each race of many callers.
func throughputPanels(r *Report, races []titledRace) (panels []panel) {
	for _, each := range races {
		field := slices.DeleteFunc(slices.Clone(r.Races[each.race]), func(one Result) bool {
			return one.Callers != ratioCallers
		})
		if len(field) == 0 {
			continue
		}
		slices.SortFunc(field, func(a, b Result) int { return int(b.Median.OpsPerS - a.Median.OpsPerS) })
		title := fmt.Sprintf("%s of %d callers, thousands a second", each.title, ratioCallers)
		panels = append(panels, bars{title, field})
	}
	return panels
}

// bars are one race, the fastest on top, each bar with its number.
type bars struct {
	title string
	field []Result
}

const (
	barRow   = 21
	barNames = 165 // room for the names
	barRoom  = panelWidth - barNames - 50
)

func (b bars) name() string { return b.title }

func (b bars) height() float64 { return titleRoom + barRow*float64(len(b.field)) }

func (b bars) draw(s *svg, left, top float64) {
	fastest := b.field[0].Median.OpsPerS
	for i, one := range b.field {
		y := top + titleRoom + barRow*float64(i)
		length := barRoom * one.Median.OpsPerS / fastest
		class := "bar"
		if isOurs(one.Contestant) {
			class = "bar ours"
		}
		s.text(left+barNames-8, y+13, end, "", one.Contestant)
		s.add(`<rect x="%v" y="%v" width="%v" height="%v" class="%s"/>`,
			left+barNames, y+2, length, barRow-6.0, class)
		thousands := strconv.FormatFloat(one.Median.OpsPerS/1000, 'f', 1, 64)
		s.text(left+barNames+length+6, y+13, start, "", thousands)
	}
}

// isOurs tells ours from the peers, under every name that it goes by.
func isOurs(contestant string) bool {
	return strings.HasPrefix(contestant, "sessionsql") ||
		slices.Contains([]string{"Store.Insert", "Store's loop", "as shipped"}, contestant)
}
