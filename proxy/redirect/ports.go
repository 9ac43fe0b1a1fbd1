package redirect

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxRanges bounds each list of ports. A range is one rule in each family, and all rules go in one
// netlink transaction, whose acknowledgements must fit the socket's buffer.
const MaxRanges = 64

// Ports is a range of ports, both ends included; a single port is a range of one.
type Ports struct{ Low, High uint16 }

// Port is the range of one port.
func Port(p uint16) Ports { return Ports{p, p} }

func (p Ports) String() string {
	if p.Low == p.High {
		return strconv.Itoa(int(p.Low))
	}
	return fmt.Sprintf("%d-%d", p.Low, p.High)
}

// ParsePorts reads a list as annotations and flags have it: "25,4567-4568". An empty list is none.
func ParsePorts(list string) ([]Ports, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	parts := strings.Split(list, ",")
	if len(parts) > MaxRanges {
		return nil, fmt.Errorf("%d ports and ranges, at most %d are possible: "+
			"join neighbours to ranges", len(parts), MaxRanges)
	}
	all := make([]Ports, 0, len(parts))
	for _, part := range parts {
		p, err := parseRange(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func parseRange(s string) (Ports, error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	l, errLow := strconv.ParseUint(low, 10, 16)
	h, errHigh := strconv.ParseUint(high, 10, 16)
	if errLow != nil || errHigh != nil || l == 0 || l > h {
		return Ports{}, fmt.Errorf(
			"%q is no port: want a number from 1 to 65535, or a range like 4567-4568", s)
	}
	return Ports{uint16(l), uint16(h)}, nil
}
