package main

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A line is named at its right end, where the eye is, so that there is no legend to match.
type line struct {
	name   string
	points plotter.XYs
	dashed bool
}

// p99Plots are p99 against the number of callers.
func p99Plots(r *Report) ([]*plot.Plot, error) {
	var panels []*plot.Plot
	for _, each := range []struct{ scenario, title string }{{"lookup", "Lookups"}, {"insert", "New sessions"}} {
		var lines []line
		for _, one := range r.Races[each.scenario] {
			i := slices.IndexFunc(lines, func(l line) bool { return l.name == one.Contestant })
			if i < 0 {
				lines = append(lines, line{name: one.Contestant})
				i = len(lines) - 1
			}
			lines[i].points = append(lines[i].points, plotter.XY{X: float64(one.Callers), Y: one.Median.P99 / 1000})
		}
		lines = slices.DeleteFunc(lines, func(l line) bool { return len(l.points) < 2 })
		if len(lines) == 0 {
			continue
		}
		p := newPlot(each.title+": 99 of 100 are faster", "callers at the same time", "milliseconds")
		panels = append(panels, p)
		if err := addLines(p, lines, true); err != nil {
			return nil, err
		}
		p.X.Tick.Marker = plot.ConstantTicks(callerTicks(r.Races[each.scenario]))
	}
	return panels, nil
}

func callerTicks(results []Result) []plot.Tick {
	var ticks []plot.Tick
	for _, each := range results {
		tick := plot.Tick{Value: float64(each.Callers), Label: strconv.Itoa(each.Callers)}
		if !slices.Contains(ticks, tick) {
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// reapPlots are what one call of each way of reaping costs as the table grows: with one row in twenty expired, and with none.
func reapPlots(r *Report) ([]*plot.Plot, error) {
	states := []struct {
		title string
		holds func(Reap) bool
	}{
		{fmt.Sprintf("Reaping: 1 row in %d is expired", expiredShare), func(one Reap) bool { return one.Expired > 0 }},
		{"Reaping: no row is expired", func(one Reap) bool { return one.Expired == 0 }},
	}
	var panels []*plot.Plot
	for _, state := range states {
		var lines []line
		var ticks []plot.Tick
		for _, one := range r.Reap {
			if !state.holds(one) {
				continue
			}
			i := slices.IndexFunc(lines, func(l line) bool { return l.name == one.Contestant })
			if i < 0 {
				lines = append(lines, line{name: one.Contestant})
				i = len(lines) - 1
			}
			lines[i].points = append(lines[i].points, plotter.XY{X: float64(one.Rows), Y: one.CPU / 1000})
			if tick := (plot.Tick{Value: float64(one.Rows), Label: inWords(one.Rows)}); !slices.Contains(ticks, tick) {
				ticks = append(ticks, tick)
			}
		}
		if len(lines) == 0 || len(lines[0].points) < 2 {
			continue
		}
		p := newPlot(state.title, "rows in the table", "CPU milliseconds a call")
		panels = append(panels, p)
		if err := addLines(p, lines, true); err != nil {
			return nil, err
		}
		p.X.Tick.Marker = plot.ConstantTicks(ticks)
	}
	return panels, nil
}

func inWords(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d million", n/1_000_000)
	case n >= 1_000 && n%1_000 == 0:
		return fmt.Sprintf("%d,000", n/1_000)
	}
	return strconv.Itoa(n)
}

// steadyPlots are the table's size over time, beside that of the rows that are alive in it.
func steadyPlots(r *Report) ([]*plot.Plot, error) {
	var lines []line
	longest := 0.0
	for i, variant := range r.Steady {
		table, live := line{name: variant.Contestant}, line{name: "live rows", dashed: true}
		for _, s := range variant.Samples {
			minutes := s.Seconds / 60
			longest = max(longest, minutes)
			table.points = append(table.points, plotter.XY{X: minutes, Y: s.TableBytes / 1e6})
			live.points = append(live.points, plotter.XY{X: minutes, Y: s.LiveBytes / 1e6})
		}
		lines = append(lines, table)
		if i == len(r.Steady)-1 {
			lines = append(lines, live) // the same for all
		}
	}
	if len(lines) == 0 {
		return nil, nil
	}
	p := newPlot(fmt.Sprintf("Table size, %s live sessions come and go", inWords(r.Steady[0].Live)), "minutes", "MB")
	if err := addLines(p, lines, false); err != nil {
		return nil, err
	}
	p.X.Min, p.Y.Min = 0, 0
	return []*plot.Plot{p}, nil
}

// addLines draws lines and names them, in logarithmic scales or linear ones.
func addLines(p *plot.Plot, lines []line, logarithmic bool) error {
	peers := 0
	colors := make([]color.RGBA, len(lines))
	for i, each := range lines {
		colors[i] = ourColor
		if !isOurs(each.name) {
			colors[i] = peerColor(peers)
			peers++
		}
		curve, dots, err := plotter.NewLinePoints(each.points)
		if err != nil {
			return err
		}
		curve.Color, curve.Width = colors[i], vg.Points(1.5)
		dots.Shape, dots.Color, dots.Radius = draw.CircleGlyph{}, colors[i], vg.Points(2.5)
		if isOurs(each.name) {
			curve.Width = vg.Points(3)
		}
		if each.dashed {
			curve.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		p.Add(curve)
		if len(each.points) <= 10 {
			p.Add(dots)
		}
	}
	from, to := func(v float64) float64 { return v }, func(v float64) float64 { return v }
	if logarithmic {
		from, to = math.Log10, func(v float64) float64 { return math.Pow(10, v) }
		p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
		p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
		p.Y.Min, p.Y.Max = to(math.Floor(from(p.Y.Min))), to(math.Ceil(from(p.Y.Max)))
	} else {
		p.Y.Min, p.Y.Max = 0, p.Y.Max*1.1
	}
	for i, y := range spread(lines, from, from(p.Y.Min), from(p.Y.Max)) {
		end := lines[i].points[len(lines[i].points)-1]
		label, err := labelAt(end.X, to(y), lines[i].name)
		if err != nil {
			return err
		}
		label.TextStyle[0].Color = colors[i]
		p.Add(label)
	}
	// Room for the names.
	p.X.Max = to(from(p.X.Max) + 0.62*(from(p.X.Max)-from(p.X.Min)))
	return nil
}

// spread returns where to write each line's name: at its end, but no two on top of each other, within the axis.
func spread(lines []line, from func(float64) float64, lowest, highest float64) []float64 {
	const rows = 17 // of text, that fit above one another
	gap := (highest - lowest) / rows
	order := make([]int, len(lines))
	at := make([]float64, len(lines))
	for i, each := range lines {
		order[i] = i
		at[i] = from(each.points[len(each.points)-1].Y)
	}
	slices.SortFunc(order, func(a, b int) int {
		if at[a] < at[b] {
			return -1
		}
		return 1
	})
	for k := 1; k < len(order); k++ {
		at[order[k]] = max(at[order[k]], at[order[k-1]]+gap)
	}
	ceiling := highest
	for _, i := range slices.Backward(order) {
		at[i] = min(at[i], ceiling)
		ceiling = at[i] - gap
	}
	return at
}
