package main

import (
	"strconv"
)

// stalenessBins are the bars of a histogram across its panel.
const stalenessBins = 44

// stalenessPanels are histograms: for how long ended sessions were served, with the network up and without.
func stalenessPanels(all []Staleness) (panels []panel) {
	for _, dropped := range []bool{false, true} {
		p := lines{
			title: "Served after the logout, " + choose(dropped, "packets dropped", "network up"),
			x:     "seconds", y: "sessions",
		}
		longest := 0.0
		for _, each := range all {
			if each.Dropped == dropped {
				longest = max(longest, each.Seconds[len(each.Seconds)-1])
			}
		}
		for _, each := range all {
			if each.Dropped == dropped {
				curve := line{each.Contestant, steps(each.Seconds, longest/stalenessBins), false}
				p.curves = append(p.curves, curve)
			}
		}
		if longest == 0 {
			continue
		}
		for _, seconds := range roundSteps(longest) {
			p.ticks = append(p.ticks, mark{seconds, strconv.FormatFloat(seconds, 'g', 4, 64)})
		}
		panels = append(panels, p)
	}
	return panels
}

// steps count ascending values in bins, up to the last one.
func steps(values []float64, width float64) (points []point) {
	edge, n := 0.0, 0.0
	for i, value := range values {
		for value > edge+width*1.000001 {
			points = append(points, point{edge, n}, point{edge + width, n})
			edge, n = edge+width, 0
		}
		if n++; i == len(values)-1 {
			points = append(points, point{edge, n}, point{edge + width, n}, point{edge + width, 0})
		}
	}
	return points
}
