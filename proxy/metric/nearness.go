package metric

// Nearness is how near to its caller's proxy an endpoint is, as far as both are known.
type Nearness uint8

const (
	UnknownNearness Nearness = iota // one of the two is not known: not counted
	SameZone                        // in the proxy's own zone, or on its node
	SameRegion                      // in another zone of its region
	Farther
	nearnesses
)

func (n Nearness) String() string {
	names := [nearnesses]string{"unknown", "zone", "region", "farther"}
	if n >= nearnesses {
		return names[UnknownNearness]
	}
	return names[n]
}

// CountNear counts a try by how near its endpoint is.
func (c *Cell) CountNear(n Nearness) {
	if n != UnknownNearness {
		c.near[n-1].Add(1)
	}
}

// Near is how many tries went to endpoints that are so near.
func (c *Cell) Near(n Nearness) uint64 {
	if n == UnknownNearness || n >= nearnesses {
		return 0
	}
	return c.near[n-1].Load()
}

// appendNear writes the tries of which it is known how near they stayed.
func appendNear(t *Text, rows []row) {
	const name = "tulle_tries_by_nearness_total"
	first := true
	for _, w := range rows {
		for n := SameZone; n < nearnesses; n++ {
			count := w.cell.Near(n)
			if count == 0 {
				continue
			}
			if first {
				t.Family(name, "Tries by how near to this proxy their endpoint is: in its zone, "+
					"in another zone of its region, or farther away.", "counter")
				first = false
			}
			t.sample(name, "", w.labels, LabelText("nearness", n.String()), float64(count))
		}
	}
}
