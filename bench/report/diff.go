package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Diff writes how b differs from a: for each scenario, system and figure that both have, the medians and their ratio. Ranges
// that overlap are marked: such a difference may be chance.
func Diff(w io.Writer, a, b *File) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "SCENARIO\tSYSTEM\tFIGURE\tBEFORE\tAFTER\tRATIO\t")
	found := false
	for i := range b.Cells {
		after := &b.Cells[i]
		before := a.find(after.Name, after.System)
		if before == nil {
			continue
		}
		for _, fig := range after.Figures() {
			s, ok := before.Spread(fig.Name)
			if !ok {
				continue
			}
			found = true
			t, _ := after.Spread(fig.Name)
			q := "-"
			if s.Median != 0 {
				q = fmt.Sprintf("%.2f", t.Median/s.Median)
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", after.Name, after.System,
				strings.TrimSpace(fig.Name+" "+fig.Unit), s, t, q, judge(fig, s, t))
		}
	}
	if !found {
		fmt.Fprintln(tw, "the files have no scenario in common")
	}
	return tw.Flush() //nolint:wrapcheck // of the writer
}

// judge says whether a difference is one.
func judge(f Figure, before, after Spread) string {
	switch {
	case before.Min <= after.Max && after.Min <= before.Max:
		return "~"
	case (after.Median < before.Median) == f.Less:
		return "better"
	default:
		return "worse"
	}
}

func (f *File) find(name, system string) *Cell {
	for i := range f.Cells {
		if f.Cells[i].Name == name && f.Cells[i].System == system {
			return &f.Cells[i]
		}
	}
	return nil
}
