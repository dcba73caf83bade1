package main

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// throughputPlots are bars, one panel for each scenario in which many callers compete.
func throughputPlots(r *Report) ([]*plot.Plot, error) {
	titles := []struct{ scenario, title string }{
		{"lookup", "Lookups"},
		{"insert", "New sessions"},
		{"page-load", "Page views"},
	}
	var panels []*plot.Plot
	for _, each := range titles {
		field := slices.DeleteFunc(slices.Clone(r.Races[each.scenario]), func(one Result) bool { return one.Callers != ratioCallers })
		if len(field) == 0 {
			continue
		}
		panel, err := barPlot(fmt.Sprintf("%s, %d callers", each.title, ratioCallers), field)
		if err != nil {
			return nil, err
		}
		panels = append(panels, panel)
	}
	return panels, nil
}

// barPlot draws the fastest on top, each bar with its number.
func barPlot(title string, field []Result) (*plot.Plot, error) {
	slices.SortFunc(field, func(a, b Result) int { return int(a.Median.OpsPerS - b.Median.OpsPerS) })
	p := newPlot(title, "operations a second, in thousands", "")
	var names []string
	fastest := 0.0
	for i, one := range field {
		thousands := one.Median.OpsPerS / 1000
		fastest = max(fastest, thousands)
		names = append(names, one.Contestant)
		bar, err := plotter.NewBarChart(plotter.Values{thousands}, vg.Points(14))
		if err != nil {
			return nil, err
		}
		bar.Horizontal, bar.XMin, bar.LineStyle.Width = true, float64(i), 0
		bar.Color = color.Gray{170}
		if isOurs(one.Contestant) {
			bar.Color = ourColor
		}
		p.Add(bar)
		label, err := labelAt(thousands, float64(i), strconv.FormatFloat(thousands, 'f', 1, 64))
		if err != nil {
			return nil, err
		}
		p.Add(label)
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.7, float64(len(field))-0.3
	p.X.Min, p.X.Max = 0, fastest*1.2 // room for the number on the longest bar
	return p, nil
}

// labelAt writes right of a point.
func labelAt(x, y float64, words string) (*plotter.Labels, error) {
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: x, Y: y}}, Labels: []string{words}})
	if err != nil {
		return nil, err
	}
	labels.TextStyle[0].Font = font.From(plot.DefaultFont, labelSize)
	labels.TextStyle[0].YAlign = text.YCenter
	labels.Offset.X = vg.Points(4)
	return labels, nil
}

// isOurs tells ours from the peers, under every name that it goes by.
func isOurs(contestant string) bool {
	return strings.HasPrefix(contestant, "sessionsql") || slices.Contains([]string{"Store.Insert", "Store's loop", "as shipped"}, contestant)
}
