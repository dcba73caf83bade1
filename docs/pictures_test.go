package docs

import (
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sessionsql/postgres/internal/chromium"
	"github.com/sessionsql/postgres/internal/testkit"
)

// inspect is a page's script: it draws each picture with each font and writes what is wrong into "problems".
const inspect = `
const luminance = color => {
  const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3)
    .map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((p, q) => p - q)
  return (light + 0.05) / (dark + 0.05)
}
const fill = element => getComputedStyle(element).fill
const box = element => element.getBoundingClientRect()
const within = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
const problems = [], widths = [], probe = document.getElementById("probe")
let labels = 0
for (const font of ["serif", "monospace"]) {
  probe.style.fontFamily = font
  widths.push(box(probe).width)
  for (const template of document.querySelectorAll("template")) {
    const place = document.body.appendChild(document.createElement("div"))
    place.attachShadow({mode: "open"}).append(template.content.cloneNode(true)) // its style is its own
    const svg = place.shadowRoot.querySelector("svg"), texts = [...svg.querySelectorAll("text")]
    const say = (text, words) => problems.push([template.id, font, text.textContent, words].join(", "))
    for (const text of texts) text.style.fontFamily = font
    labels += texts.length
    texts.forEach((text, i) => {
      const own = box(text), middle = {left: own.left + own.width / 2, top: own.top + own.height / 2}
      middle.right = middle.left
      middle.bottom = middle.top
      if (own.width < 1) say(text, "is not drawn")
      for (const other of texts.slice(i + 1))
        if (meet(own, box(other))) say(text, "overlaps " + other.textContent)
      const under = [...svg.querySelectorAll("rect")].filter(rect => within(middle, box(rect))).pop()
      if (!under || !within(own, box(under))) say(text, "leaves its box")
      else if (contrast(fill(text), fill(under)) < 4.5) say(text, "can hardly be read")
    })
  }
}
const page = document.querySelector("div").shadowRoot.querySelector(".page")
for (const [id, value] of Object.entries({problems: problems.join("\n"), widths, labels, page: fill(page)}))
  document.getElementById(id).textContent = value
`

// TestPicturesLookTheSameWithAnyFont draws every picture with two fonts of different widths, for light and
// for dark pages. No label may overlap another, leave its box or be hard to read.
func TestPicturesLookTheSameWithAnyFont(t *testing.T) {
	b := chromium.New(t)
	pictures, err := filepath.Glob(filepath.Join(root, "docs", "*.svg"))
	testkit.Must(t, err)
	plots, err := filepath.Glob(filepath.Join(root, "scripts", "bench", "results", "*.svg"))
	testkit.Must(t, err)
	if len(pictures) < 1 || len(plots) < 4 {
		t.Fatalf("only %q and %q", pictures, plots)
	}
	var page strings.Builder
	page.WriteString(`<!doctype html><meta charset="utf-8"><body><span id="probe">iiiiiiiiii</span>`)
	for _, path := range append(pictures, plots...) {
		drawing, err := os.ReadFile(path)
		testkit.Must(t, err)
		page.WriteString(`<template id="` + filepath.Base(path) + `">` + string(drawing) + `</template>`)
	}
	for _, id := range []string{"problems", "widths", "labels", "page"} {
		page.WriteString(`<pre id="` + id + `">none</pre>`)
	}
	page.WriteString(`<script>` + inspect + `</script>`)
	path := filepath.Join(t.TempDir(), "page.html")
	testkit.Must(t, os.WriteFile(path, []byte(page.String()), 0o600))

	backgrounds := map[string]bool{}
	for scheme, setting := range map[string]string{"dark": "0", "light": "1"} {
		shown := b.Dump("file://"+path, "--blink-settings=preferredColorScheme="+setting)
		if problems := element(t, shown, "problems"); problems != "" {
			t.Errorf("%s page:\n%s", scheme, problems)
		}
		if serif, monospace, _ := strings.Cut(element(t, shown, "widths"), ","); serif == monospace {
			t.Errorf("both fonts of this machine are %s pixels wide, so nothing is compared", serif)
		}
		if n, err := strconv.Atoi(element(t, shown, "labels")); err != nil || n < 200 {
			t.Errorf("%d labels: %v", n, err)
		}
		backgrounds[element(t, shown, "page")] = true
	}
	if len(backgrounds) != 2 {
		t.Errorf("dark and light pages do not differ: %v", backgrounds)
	}
}

// element returns the text of a page's element, which its script must have written.
func element(t *testing.T, page, id string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, `<pre id="`+id+`">`)
	text, _, closed := strings.Cut(rest, "</pre>")
	if !found || !closed {
		t.Fatalf("no element %s in\n%s", id, page)
	}
	return html.UnescapeString(text)
}

// TestPlotsAreDrawnFromTheReport draws the plots again.
func TestPlotsAreDrawnFromTheReport(t *testing.T) {
	results, err := filepath.Abs(filepath.Join(root, "scripts", "bench", "results"))
	testkit.Must(t, err)
	folder := t.TempDir()
	draw := exec.Command("go", "run", ".", "-plots", folder, "-from", filepath.Join(results, "full.json"))
	draw.Dir = filepath.Join(root, "scripts", "bench")
	if out, err := draw.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	drawn, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	testkit.Must(t, err)
	kept, err := filepath.Glob(filepath.Join(results, "*.svg"))
	testkit.Must(t, err)
	if len(drawn) == 0 || len(drawn) != len(kept) {
		t.Errorf("%d plots were drawn, and %d are kept", len(drawn), len(kept))
	}
	for _, path := range drawn {
		now, err := os.ReadFile(path)
		testkit.Must(t, err)
		committed, err := os.ReadFile(filepath.Join(results, filepath.Base(path)))
		testkit.Must(t, err)
		if string(now) != string(committed) {
			t.Errorf("%s is not what full.json draws: scripts/bench.sh --plots scripts/bench/results "+
				"--from scripts/bench/results/full.json", filepath.Base(path))
		}
	}
}
