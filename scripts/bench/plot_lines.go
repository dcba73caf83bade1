package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

type point struct{ x, y float64 }

// A line is named at its right end, where the eye is, so that there is no legend to match.
type line struct {
	name   string
	points []point
	dashed bool
}

// A mark is a labelled value of an axis.
type mark struct {
	value float64
	label string
}

// lines are curves over two axes.
type lines struct {
	title, x, y string
	logarithmic bool
	curves      []line
	ticks       []mark // of the horizontal axis
}

// p99Panels are p99 against the number of callers.
func p99Panels(r *Report) (panels []panel) {
	titles := []struct{ scenario, title string }{{"lookup", "Lookups"}, {"insert", "New sessions"}}
	for _, each := range titles {
		title := each.title + ": 99 of 100 are faster"
		p := lines{title: title, x: "callers at the same time", y: "ms", logarithmic: true}
		for _, one := range r.Races[each.scenario] {
			at := point{float64(one.Callers), one.Median.P99 / 1000}
			p.add(one.Contestant, at, strconv.Itoa(one.Callers))
		}
		p.curves = slices.DeleteFunc(p.curves, func(l line) bool { return len(l.points) < 2 })
		if len(p.curves) > 0 {
			panels = append(panels, p)
		}
	}
	return panels
}

// reapPanels show the cost of one call of each way of reaping as the table grows: with one row in twenty
// expired, and with none.
func reapPanels(r *Report) (panels []panel) {
	states := []struct {
		title string
		holds func(Reap) bool
	}{
		{
			fmt.Sprintf("Reaping: 1 row in %d is expired", expiredShare),
			func(one Reap) bool { return one.Expired > 0 },
		},
		{"Reaping: no row is expired", func(one Reap) bool { return one.Expired == 0 }},
	}
	for _, state := range states {
		p := lines{title: state.title, x: "rows in the table", y: "CPU ms a call", logarithmic: true}
		for _, one := range r.Reap {
			if state.holds(one) {
				p.add(one.Contestant, point{float64(one.Rows), one.CPU / 1000}, inWords(one.Rows))
			}
		}
		if len(p.curves) > 0 && len(p.curves[0].points) > 1 {
			panels = append(panels, p)
		}
	}
	return panels
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

// steadyPanels are the table's size over time, beside that of the rows that are alive in it. The title names
// the number of rows.
func steadyPanels(title string, variants []Steady) []panel {
	if len(variants) == 0 {
		return nil
	}
	p := lines{title: fmt.Sprintf(title, inWords(variants[0].Live)), x: "minutes", y: "MB"}
	longest := 0.0
	for i, variant := range variants {
		table, live := line{name: variant.Contestant}, line{name: "live rows", dashed: true}
		for _, s := range variant.Samples {
			minutes := s.Seconds / 60
			longest = max(longest, minutes)
			table.points = append(table.points, point{minutes, s.TableBytes / 1e6})
			live.points = append(live.points, point{minutes, s.LiveBytes / 1e6})
		}
		p.curves = append(p.curves, table)
		if i == len(variants)-1 {
			p.curves = append(p.curves, live) // the same for all
		}
	}
	for _, minutes := range roundSteps(longest) {
		p.ticks = append(p.ticks, mark{minutes, strconv.FormatFloat(minutes, 'g', 4, 64)})
	}
	return []panel{p}
}

// add puts a point on the curve of a name, and its place on the axis.
func (p *lines) add(name string, at point, label string) {
	i := slices.IndexFunc(p.curves, func(l line) bool { return l.name == name })
	if i < 0 {
		p.curves = append(p.curves, line{name: name})
		i = len(p.curves) - 1
	}
	p.curves[i].points = append(p.curves[i].points, at)
	if place := (mark{at.x, label}); !slices.Contains(p.ticks, place) {
		p.ticks = append(p.ticks, place)
	}
}

// roundSteps are about five round values from 0 to a highest one.
func roundSteps(highest float64) (steps []float64) {
	step := math.Pow(10, math.Floor(math.Log10(highest)))
	for _, divisor := range []float64{2, 2.5, 5} {
		if highest/step < 4 {
			step = math.Pow(10, math.Floor(math.Log10(highest))) / divisor
		}
	}
	for i := 0; float64(i)*step <= highest*1.001; i++ {
		steps = append(steps, float64(i)*step)
	}
	return steps
}

const (
	axisRoom  = 44  // left of the curves, for numbers
	nameRoom  = 170 // right of them, for names
	plotRoom  = panelWidth - axisRoom - nameRoom
	plotTall  = 200.0
	nameRow   = 19 // no font is higher
	belowRoom = 42 // for numbers and what they count
)

func (p lines) name() string { return p.title }

func (p lines) height() float64 { return titleRoom + textSize + plotTall + belowRoom }

func (p lines) draw(s *svg, left, top float64) {
	left, top = left+axisRoom, top+titleRoom+textSize
	across, up := p.axes()
	atX := func(x float64) float64 { return left + plotRoom*across.share(x) }
	atY := func(y float64) float64 { return top + plotTall*(1-up.share(y)) }

	s.text(left, top-8, start, "faint", p.y)
	s.text(left+plotRoom/2, top+plotTall+36, middle, "faint", p.x)
	for _, each := range up.ticks() {
		s.add(`<path class="rule" d="M%v,%vh%v"/>`, left, atY(each.value), float64(plotRoom))
		s.text(left-6, atY(each.value)+4, end, "faint", each.label)
	}
	for _, each := range p.ticks {
		s.add(`<path class="rule" d="M%v,%vv%v"/>`, atX(each.value), top, plotTall)
		s.text(atX(each.value), top+plotTall+18, middle, "faint", each.label)
	}

	var ends []float64
	for _, each := range p.curves {
		ends = append(ends, atY(each.points[len(each.points)-1].y))
	}
	names, peers := spread(ends, top, top+plotTall), 0
	for i, each := range p.curves {
		class, color := "line ours", "--ours"
		if !isOurs(each.name) {
			class, color = "line", fmt.Sprintf("--%d", peers%7)
			peers++
		}
		var path strings.Builder
		for i, at := range each.points {
			fmt.Fprintf(&path, "%s%.1f,%.1f", choose(i == 0, "M", "L"), atX(at.x), atY(at.y))
		}
		dashes := choose(each.dashed, ` stroke-dasharray="5 4"`, "")
		s.add(`<g style="color: var(%v)"><path class="%v" d="%v"%v/>`, color, class, path.String(), dashes)
		if len(each.points) <= 10 {
			for _, at := range each.points {
				s.add(`<circle class="dot" cx="%v" cy="%v" r="3"/>`, atX(at.x), atY(at.y))
			}
		}
		edge := atX(each.points[len(each.points)-1].x)
		s.add(`<path class="lead" d="M%v,%vL%v,%v"/></g>`, edge, ends[i], left+plotRoom+20, names[i])
		s.text(left+plotRoom+24, names[i]+4, start, "", each.name)
	}
}

// An axis leads from values to shares of its length.
type axis struct {
	lowest, highest float64
	logarithmic     bool
}

// share is where on the axis a value stands, from 0 to 1.
func (a axis) share(value float64) float64 {
	if a.logarithmic {
		return math.Log(value/a.lowest) / math.Log(a.highest/a.lowest)
	}
	return (value - a.lowest) / (a.highest - a.lowest)
}

// ticks are the powers of ten of a logarithmic axis, or round steps.
func (a axis) ticks() (ticks []mark) {
	values := []float64{a.lowest}
	if a.logarithmic {
		for values[len(values)-1] < a.highest*0.999 {
			values = append(values, values[len(values)-1]*10)
		}
	} else {
		values = roundSteps(a.highest)
	}
	for _, value := range values {
		label := strconv.FormatFloat(value, 'f', -1, 64)
		if value >= 1000 {
			label = inWords(int(value))
		}
		ticks = append(ticks, mark{value, label})
	}
	return ticks
}

// axes hold all points: logarithmic ones from a power of ten to another upwards, linear ones from 0.
func (p lines) axes() (across, up axis) {
	first := p.curves[0].points[0]
	across = axis{first.x, first.x, p.logarithmic}
	up = axis{first.y, first.y, p.logarithmic}
	for _, each := range p.curves {
		for _, at := range each.points {
			across.lowest, across.highest = min(across.lowest, at.x), max(across.highest, at.x)
			up.lowest, up.highest = min(up.lowest, at.y), max(up.highest, at.y)
		}
	}
	if p.logarithmic {
		up.lowest = math.Pow(10, math.Floor(math.Log10(up.lowest)))
		up.highest = math.Pow(10, math.Ceil(math.Log10(up.highest)))
	} else {
		across.lowest, up.lowest = 0, 0
		up.highest *= 1.1
	}
	return across, up
}

// spread returns where to write each line's name: at its end, but no two on top of each other, and between
// top and bottom.
func spread(ends []float64, top, bottom float64) []float64 {
	order := make([]int, len(ends))
	for i := range ends {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ends[a], ends[b]) })
	at := slices.Clone(ends)
	free := top
	for _, i := range order {
		at[i] = max(at[i], free)
		free = at[i] + nameRow
	}
	free = bottom
	for _, i := range slices.Backward(order) {
		at[i] = min(at[i], free)
		free = at[i] - nameRow
	}
	return at
}
