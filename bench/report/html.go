package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// HTML writes the file as one page without anything to be loaded: machine, tables, a bar chart per figure, the probes.
func (f *File) HTML(w io.Writer) error {
	page, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("the page: %w", err)
	}
	var table strings.Builder
	if err := f.Text(&table); err != nil {
		return err
	}
	err = page.Execute(w, map[string]any{
		"File": f, "Table": table.String(), "At": f.At.Format(time.RFC3339), "Charts": f.charts(), "Probes": f.probes(),
		"Colours": colours[:min(len(f.Systems), len(colours))],
	})
	if err != nil {
		return fmt.Errorf("the page: %w", err)
	}
	return nil
}

// probes are lines about the disk, a line per run.
func (f *File) probes() []string {
	var out []string
	for i := range f.Cells {
		c := &f.Cells[i]
		for j := range c.Runs {
			if r := &c.Runs[j]; r.Before != nil && r.After != nil {
				out = append(out, fmt.Sprintf("%s, %s, round %d: sync p50 %s p99 %s before, p50 %s p99 %s after", c.Name, c.System, j+1,
					r.Before.P50.Round(time.Microsecond), r.Before.P99.Round(time.Microsecond),
					r.After.P50.Round(time.Microsecond), r.After.P99.Round(time.Microsecond)))
			}
		}
	}
	return out
}
