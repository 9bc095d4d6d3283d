package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

var colours = []string{"#2f6f9f", "#c46a2b", "#5b8c3a", "#8a5a9e"} //nolint:gochecknoglobals // one per system

// chart of a figure: a group of bars per scenario, a bar per system with a line from its smallest to its largest round.
type chart struct {
	Title string
	SVG   template.HTML
}

// Measures of a chart, in SVG's units.
const (
	chartWidth = 900
	labelWidth = 330
	barHeight  = 16
	groupGap   = 12
	textDrop   = 12
)

// charts of all figures that some cell has.
func (f *File) charts() []chart {
	var out []chart
	seen := map[string]bool{}
	for i := range f.Cells {
		for _, fig := range f.Cells[i].Figures() {
			if seen[fig.Name] || fig.Name == "errors" {
				continue
			}
			seen[fig.Name] = true
			out = append(out, f.chart(fig))
		}
	}
	return out
}

func (f *File) chart(fig Figure) chart {
	most := 0.0
	for i := range f.Cells {
		if s, ok := f.Cells[i].Spread(fig.Name); ok {
			most = math.Max(most, s.Max)
		}
	}
	scale := float64(chartWidth-labelWidth-120) / math.Max(most, 1e-12)
	var b strings.Builder
	y := 0.0
	for _, name := range f.Names() {
		drawn := false
		for i, system := range f.Systems {
			c := f.find(name, system)
			if c == nil {
				continue
			}
			s, ok := c.Spread(fig.Name)
			if !ok {
				continue
			}
			if !drawn {
				fmt.Fprintf(&b, `<text x="%d" y="%.0f" text-anchor="end">%s</text>`, labelWidth-8, y+textDrop, html.EscapeString(name))
				drawn = true
			}
			fmt.Fprintf(&b, `<rect x="%d" y="%.0f" width="%.1f" height="%d" fill="%s"/>`,
				labelWidth, y, math.Max(1, s.Median*scale), barHeight-3, colours[i%len(colours)])
			mid := y + barHeight/2 - 1
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#222"/>`,
				labelWidth+s.Min*scale, labelWidth+s.Max*scale, mid, mid)
			fmt.Fprintf(&b, `<text x="%.1f" y="%.0f">%s</text>`, labelWidth+s.Max*scale+6, y+textDrop, html.EscapeString(number(s.Median)))
			y += barHeight
		}
		if drawn {
			y += groupGap
		}
	}
	title := strings.TrimSpace(fig.Name + " " + fig.Unit)
	if fig.Less {
		title += " (less is better)"
	} else {
		title += " (more is better)"
	}
	svg := fmt.Sprintf(`<svg viewBox="0 0 %d %.0f" role="img" aria-label="%s">%s</svg>`, chartWidth, y, html.EscapeString(title), b.String())
	return chart{title, template.HTML(svg)} //nolint:gosec // made here; names are escaped
}
