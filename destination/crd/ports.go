package crd

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// PortRange holds ports, both ends included.
//
// +kubebuilder:object:generate=false
type PortRange struct{ First, Last uint16 }

// Contains says whether a port is in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// ParsePortRange reads "6379" or "6000-6999".
func ParsePortRange(text string) (PortRange, error) {
	first, last, isRange := strings.Cut(strings.TrimSpace(text), "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if errA != nil || errB != nil || a == 0 || a > b {
		return PortRange{}, errors.New("must be a port such as 6379, or a range such as 6000-6999")
	}
	return PortRange{First: uint16(a), Last: uint16(b)}, nil
}

// PortItem is an item of a list of ports as annotations have it: a range, or what a port is called.
//
// +kubebuilder:object:generate=false
type PortItem struct {
	PortRange
	Name string // the range is empty then
}

// Ports reads a list of ports, ranges and names, "25,6000-6999,redis", item by item. An item that
// means nothing comes with an error.
func Ports(list string) iter.Seq2[PortItem, error] {
	return func(yield func(PortItem, error) bool) {
		for text := range strings.SplitSeq(list, ",") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			if item, err := parsePort(text); !yield(item, err) {
				return
			}
		}
	}
}

func parsePort(text string) (PortItem, error) {
	r, err := ParsePortRange(text)
	if err == nil || len(validation.IsValidPortName(text)) > 0 {
		if err != nil {
			err = fmt.Errorf("%q %w, or the name of a containerPort", text, err)
		}
		return PortItem{PortRange: r}, err
	}
	return PortItem{Name: text}, nil
}

// Range returns the ports that the item stands for, and whether there are any: of a name, the one
// that named returns, where that is not 0.
func (i PortItem) Range(named func(string) uint16) (PortRange, bool) {
	if i.Name == "" {
		return i.PortRange, true
	}
	port := named(i.Name)
	return PortRange{First: port, Last: port}, port != 0
}

// String is the range as a list has it.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}
