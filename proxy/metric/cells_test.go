package metric

import "testing"

// What is hot is resolved once, however many routes a service has in however many protocols.
func TestHotCellsAreResolvedOnce(t *testing.T) {
	const routes, protocols = 129, 3 // the most of a profile, and what none of them matches
	type key struct{ route, protocol int }
	var cells Cells[key]
	resolved := 0
	for range 3 {
		for r := range routes {
			for p := range protocols {
				cells.Get(key{r, p}, func() *Cell { resolved++; return new(Cell) })
			}
		}
	}
	if resolved != routes*protocols {
		t.Errorf("%d cells were resolved %d times", routes*protocols, resolved)
	}
}

// Keys that nobody uses any more do not stay.
func TestCachedCellsAreBounded(t *testing.T) {
	var cells Cells[int]
	for i := range 10 * maxCachedCells {
		cells.Get(i, func() *Cell { return new(Cell) })
		if n := len(*cells.m.Load()); n > maxCachedCells {
			t.Fatalf("%d cells are kept", n)
		}
	}
}
