package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Text writes the file as tables: of one system a line per scenario, of several a line per scenario and figure, with the
// ratio of the first system to each other one.
func (f *File) Text(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if len(f.Systems) < 2 {
		f.single(tw)
	} else {
		f.compared(tw)
	}
	for i := range f.Cells {
		for _, why := range f.Cells[i].Failed {
			fmt.Fprintf(tw, "%s\t%s\tFAILED: %s\n", f.Cells[i].Name, f.Cells[i].System, why)
		}
	}
	return tw.Flush() //nolint:wrapcheck // of the writer
}

func (f *File) single(w io.Writer) {
	var head []string
	for i := range f.Cells {
		c := &f.Cells[i]
		names, row := []string{"SCENARIO"}, []string{c.Name}
		for _, fig := range c.Figures() {
			s, _ := c.Spread(fig.Name)
			names = append(names, strings.ToUpper(strings.TrimSpace(fig.Name+" "+fig.Unit)))
			row = append(row, s.String())
		}
		if strings.Join(names, "") != strings.Join(head, "") {
			head = names
			fmt.Fprintln(w, strings.Join(head, "\t"))
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
}

func (f *File) compared(w io.Writer) {
	head := []string{"SCENARIO", "FIGURE"}
	for i, s := range f.Systems {
		head = append(head, strings.ToUpper(s))
		if i > 0 {
			head = append(head, "RATIO")
		}
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, name := range f.Names() {
		ours, label := f.find(name, f.Systems[0]), name
		if ours == nil {
			continue
		}
		for _, fig := range ours.Figures() {
			first, _ := ours.Spread(fig.Name)
			row := []string{label, strings.TrimSpace(fig.Name + " " + fig.Unit), first.String()}
			for _, other := range f.Systems[1:] {
				var s Spread
				ok := false
				if c := f.find(name, other); c != nil {
					s, ok = c.Spread(fig.Name)
				}
				if !ok {
					row = append(row, "-", "-")
					continue
				}
				row = append(row, s.String(), ratio(first.Median, s.Median, fig.Less))
			}
			fmt.Fprintln(w, strings.Join(row, "\t"))
			label = ""
		}
	}
}

// ratio of ours to theirs, marked where we lose.
func ratio(ours, theirs float64, less bool) string {
	if theirs == 0 {
		if ours == 0 {
			return "1.00"
		}
		return "-"
	}
	q := ours / theirs
	text := fmt.Sprintf("%.2f", q)
	if less && q > 1 || !less && q < 1 {
		text += " (loses)"
	}
	return text
}
