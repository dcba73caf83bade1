package main

import (
	"errors"
	"os"
	"path/filepath"
)

// drawPlots writes every plot that a report has the numbers for into a folder, as SVG.
func drawPlots(r *Report, folder string) error {
	if folder == "" {
		return errors.New("-from needs -plots, the folder to draw to")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	figures := []struct {
		file   string
		panels []panel
	}{
		{"throughput.svg", throughputPanels(r, sessionRaces)},
		{"p99.svg", p99Panels(r)},
		{"reap.svg", reapPanels(r)},
		{"steady.svg", steadyPanels("Table size, %s live sessions come and go", r.Steady)},
		{"cache.svg", throughputPanels(r, entryRaces)},
		{"near-staleness.svg", stalenessPanels(r.Staleness)},
		{"cache-churn.svg", steadyPanels("Table size, a budget of %s entries", r.Churn)},
	}
	for _, figure := range figures {
		if len(figure.panels) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, figure.file), draw(figure.panels), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A panel is one chart of a figure.
type panel interface {
	name() string
	height() float64                // in pixels, title included
	draw(s *svg, left, top float64) // panelWidth wide
}

const (
	panelWidth = 440
	columns    = 2
	padding    = 14
	titleRoom  = 26
)

// draw arranges panels in rows of two.
func draw(panels []panel) []byte {
	var s svg
	bottom := float64(padding)
	for i := 0; i < len(panels); i += columns {
		row, tallest := panels[i:min(i+columns, len(panels))], 0.0
		for j, each := range row {
			left := padding + float64(j)*(panelWidth+2*padding)
			s.text(left, bottom+titleSize, start, "title", each.name())
			each.draw(&s, left, bottom)
			tallest = max(tallest, each.height())
		}
		bottom += tallest + padding
	}
	across := float64(min(len(panels), columns))
	return s.document(across*(panelWidth+2*padding), bottom, panels[0].name())
}
