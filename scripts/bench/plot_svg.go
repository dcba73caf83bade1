package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// style colours a plot for light and for dark pages. Lines have the colours of Okabe and Ito, which people
// who do not see all colours can tell apart; ours is blue and thick.
const style = `
svg { font-family: sans-serif; font-size: 12px; --page: #fff; --ink: #24292f; --faint: #59636e;
  --rule: #d8dee4; --ours: #0072b2; --peer: #afb8c1; --0: #d55e00; --1: #009e73;
  --2: #b5568f; --3: #b87d00; --4: #3a8fc4;
  --5: #7a7a7a; --6: #000 }
@media (prefers-color-scheme: dark) {
  svg { --page: #161b22; --ink: #e6edf3; --faint: #9198a1; --rule: #30363d; --ours: #56b4e9; --peer: #57606a;
    --0: #ff8a3d; --1: #2fc79b; --2: #e08dc0; --3: #e6b450; --4: #8ecbf0; --5: #a0a0a0; --6: #fff }
}
.page { fill: var(--page) } text { fill: var(--ink) } .title { font-size: 14px; font-weight: bold }
.faint { fill: var(--faint) } .bar { fill: var(--peer) } .bar.ours { fill: var(--ours) }
.rule { stroke: var(--rule) } .line { fill: none; stroke: currentColor; stroke-width: 1.5 }
.line.ours { stroke-width: 3 } .dot { fill: currentColor }
.lead { stroke: currentColor; stroke-dasharray: 2 2 }
`

const (
	textSize  = 12
	titleSize = 14
)

// Where a text stands to its point.
const (
	start  = 0.0
	middle = 0.5
	end    = 1.0
)

// An svg is a drawing that looks the same with any font: each text is given its length, to which the browser
// fits the glyphs, and stands on a line of its own.
type svg struct{ body bytes.Buffer }

// document returns the whole file.
func (s *svg) document(width, height float64, label string) []byte {
	var page bytes.Buffer
	fmt.Fprintf(&page, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]g" height="%[2]g" `+
		`viewBox="0 0 %[1]g %[2]g" role="img" aria-label="%[3]s">`+"\n<style>%[4]s</style>\n",
		width, height, html.EscapeString(label), style)
	fmt.Fprintf(&page, `<rect class="page" width="%g" height="%g" rx="6"/>`+"\n", width, height)
	page.Write(s.body.Bytes())
	page.WriteString("</svg>\n")
	return page.Bytes()
}

// add writes one element, its numbers rounded to tenths of a pixel.
func (s *svg) add(format string, values ...any) {
	for i, value := range values {
		if number, isNumber := value.(float64); isNumber {
			values[i] = strings.TrimSuffix(fmt.Sprintf("%.1f", number), ".0")
		}
	}
	fmt.Fprintf(&s.body, format+"\n", values...)
}

// text writes words whose baseline is at y.
func (s *svg) text(x, y, anchor float64, class, words string) {
	size := float64(textSize)
	if class == "title" {
		size = titleSize
	}
	length := textLength(words, size)
	s.add(`<text x="%v" y="%v" class="%s" textLength="%v" lengthAdjust="spacingAndGlyphs">%s</text>`,
		x-anchor*length, y, class, length, html.EscapeString(words))
}

// textLength is about how long a common sans-serif font writes words, in pixels.
func textLength(words string, size float64) float64 {
	const narrow, wide = "fijlrtI.,:;'|!()[] -", "mwMW%"
	n := float64(utf8.RuneCountInString(words))
	for _, letter := range words {
		switch {
		case strings.ContainsRune(narrow, letter):
			n -= 0.45
		case strings.ContainsRune(wide, letter):
			n += 0.5
		case letter >= 'A' && letter <= 'Z':
			n += 0.2
		}
	}
	return n * 0.57 * size
}
