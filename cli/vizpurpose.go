package cli

import (
	"fmt"

	"github.com/tulle-mesh/tulle/viz"
)

// purposeColumn shows what a mesh does to requests on purpose, and where it keeps them.
type purposeColumn struct {
	head string
	some func(*viz.Figures) bool // whether there is anything to show
	cell func(f *viz.Figures, callers bool) string
}

// purposeColumns are of the window, but for endpoints, which are ejected now. Of faults and zones
// only callers know.
var purposeColumns = []purposeColumn{
	{"FAULTED", func(f *viz.Figures) bool { return f.WindowFaulted > 0 },
		func(f *viz.Figures, callers bool) string {
			if !callers {
				return "-"
			}
			return count(f.WindowFaulted)
		}},
	{"LIMITED", func(f *viz.Figures) bool { return f.WindowLimited > 0 },
		func(f *viz.Figures, _ bool) string { return count(f.WindowLimited) }},
	{"EJECTED", func(f *viz.Figures) bool { return f.Ejected > 0 },
		func(f *viz.Figures, _ bool) string {
			if f.Endpoints == 0 {
				return "-" // nobody looks for endpoints that fail
			}
			return fmt.Sprintf("%d/%d", f.Ejected, f.Endpoints)
		}},
	{"IN_ZONE", func(*viz.Figures) bool { return false },
		func(f *viz.Figures, callers bool) string {
			if !callers {
				return "-"
			}
			return percent(f.InZone)
		}},
}

// purposes are the columns of a table: all if it is wide, and else those in which any row has
// something to show.
type purposes []purposeColumn

func purposesOf[T any](wide bool, rows []T, figures func(*T) *viz.Figures) (out purposes) {
	for _, c := range purposeColumns {
		shown := wide
		for i := range rows {
			shown = shown || c.some(figures(&rows[i]))
		}
		if shown {
			out = append(out, c)
		}
	}
	return out
}

func (p purposes) heads() (out []string) {
	for _, c := range p {
		out = append(out, c.head)
	}
	return out
}

// cells are a row's; callers says whether they have measured it.
func (p purposes) cells(f *viz.Figures, callers bool) (out []string) {
	for _, c := range p {
		out = append(out, c.cell(f, callers))
	}
	return out
}
