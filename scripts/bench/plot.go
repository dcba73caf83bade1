package main

import (
	"errors"
	"image/color"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// drawPlots writes what a report has the numbers for into a folder, as SVG.
func drawPlots(r *Report, folder string) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	if folder == "" {
		return errors.New("-from needs -plots, the folder to draw to")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	figures := []struct {
		file string
		draw func(*Report) ([]*plot.Plot, error)
	}{
		{"throughput.svg", throughputPlots},
		{"p99.svg", p99Plots},
		{"reap.svg", reapPlots},
		{"steady.svg", steadyPlots},
	}
	for _, figure := range figures {
		panels, err := figure.draw(r)
		if err != nil {
			return err
		}
		if len(panels) == 0 {
			continue
		}
		if err := writeSVG(filepath.Join(folder, figure.file), panels); err != nil {
			return err
		}
	}
	return nil
}

const (
	panelWidth  = 13 * vg.Centimeter
	panelHeight = 9 * vg.Centimeter
	labelSize   = font.Length(10)
)

// writeSVG draws panels side by side.
func writeSVG(path string, panels []*plot.Plot) error {
	canvas := vgsvg.New(panelWidth*vg.Length(len(panels)), panelHeight)
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	tiles := draw.Tiles{
		Rows: 1, Cols: len(panels), PadX: vg.Millimeter * 6,
		PadTop: vg.Millimeter * 3, PadBottom: vg.Millimeter * 3, PadLeft: vg.Millimeter * 3, PadRight: vg.Millimeter * 3,
	}
	for i, tile := range plot.Align([][]*plot.Plot{panels}, tiles, whole)[0] {
		panels[i].Draw(tile)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(file)
	return errors.Join(err, file.Close())
}

// newPlot is a plot with a title and the axes that all share.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.X.Tick.Marker, p.Y.Tick.Marker = shortTicks{}, shortTicks{}
	p.Title.Text, p.Title.Padding = title, vg.Millimeter*3
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.X.Padding, p.Y.Padding = 0, 0
	p.Add(lightGrid())
	return p
}

// shortTicks are the default ones, labelled without zeros at the end.
type shortTicks struct{}

func (shortTicks) Ticks(lowest, highest float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(lowest, highest)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'g', 4, 64)
		}
	}
	return ticks
}

func lightGrid() *plotter.Grid {
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{230}, color.Gray{230}
	return grid
}

// ourColor stands out; the others share a palette that people who do not see all colours can tell apart (Okabe and Ito).
var (
	ourColor   = color.RGBA{0, 114, 178, 255}
	peerColors = []color.RGBA{
		{213, 94, 0, 255},
		{0, 158, 115, 255},
		{204, 121, 167, 255},
		{230, 159, 0, 255},
		{86, 180, 233, 255},
		{120, 120, 120, 255},
		{0, 0, 0, 255},
	}
)

func peerColor(i int) color.RGBA { return peerColors[i%len(peerColors)] }
