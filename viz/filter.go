package viz

import (
	"fmt"
	"strconv"
	"strings"
)

// Filter is what a user typed to see fewer rows: terms that must all hold, for example
// "ok<99 p99>200 route~pay checkout". The page and `meshctl viz top` have the same one. The zero
// value lets every row through.
type Filter struct {
	Text  string
	terms []func(*TopRow) bool
}

// Matches says whether a row is to be seen.
func (f *Filter) Matches(r *TopRow) bool {
	for _, holds := range f.terms {
		if !holds(r) {
			return false
		}
	}
	return true
}

// filterNumbers are the fields that compare by value; nil is a figure that a row does not have, and
// matches nothing.
var filterNumbers = map[string]func(*TopRow) *float64{
	"rps":   func(r *TopRow) *float64 { return &r.RPS },
	"ok":    func(r *TopRow) *float64 { return percent(r.SuccessRate) },
	"p50":   func(r *TopRow) *float64 { return r.P50Ms },
	"p95":   func(r *TopRow) *float64 { return r.P95Ms },
	"p99":   func(r *TopRow) *float64 { return r.P99Ms },
	"retry": func(r *TopRow) *float64 { return percent(r.RetryRate) },
	"t/o":   func(r *TopRow) *float64 { n := float64(r.WindowTimeouts); return &n },
	"fault": func(r *TopRow) *float64 { n := float64(r.WindowFaulted); return &n },
	"limit": func(r *TopRow) *float64 { n := float64(r.WindowLimited); return &n },
	"eject": func(r *TopRow) *float64 { n := float64(r.Ejected); return &n },
}

// filterWords are the fields that compare as text.
var filterWords = map[string]func(*TopRow) string{
	"from":  func(r *TopRow) string { return r.From },
	"to":    func(r *TopRow) string { return r.To },
	"route": func(r *TopRow) string { return r.Route },
	"ns":    func(r *TopRow) string { return r.FromNamespace + " " + r.ToNamespace },
	"mtls":  func(r *TopRow) string { return r.Security },
}

// filterOperators, so that no one hides a longer one.
var filterOperators = []string{"!=", "!~", ">=", "<=", "=", "~", ">", "<"}

func percent(rate *float64) *float64 {
	if rate == nil {
		return nil
	}
	p := *rate * 100
	return &p
}

// ParseFilter reads a filter, or says which of its terms makes no sense.
func ParseFilter(text string) (Filter, error) {
	f := Filter{Text: strings.TrimSpace(text)}
	for _, term := range strings.Fields(text) {
		holds, err := parseTerm(term)
		if err != nil {
			return Filter{}, err
		}
		f.terms = append(f.terms, holds)
	}
	return f, nil
}

func parseTerm(term string) (func(*TopRow) bool, error) {
	field, operator, value := splitTerm(term)
	if operator == "" {
		want := strings.ToLower(term)
		return func(r *TopRow) bool {
			return strings.Contains(strings.ToLower(r.From+" "+r.To+" "+r.Route), want)
		}, nil
	}
	if get := filterNumbers[field]; get != nil {
		return numberTerm(term, get, operator, value)
	}
	if get := filterWords[field]; get != nil {
		return wordTerm(term, get, operator, value)
	}
	return nil, fmt.Errorf("%q is no field: use rps ok p50 p95 p99 retry t/o fault limit eject "+
		"from to route ns mtls", field)
}

func splitTerm(term string) (field, operator, value string) {
	at := strings.IndexAny(term, "<>=~!")
	if at <= 0 {
		return "", "", term
	}
	for _, op := range filterOperators {
		if strings.HasPrefix(term[at:], op) {
			return strings.ToLower(term[:at]), op, term[at+len(op):]
		}
	}
	return "", "", term
}

func numberTerm(
	term string, get func(*TopRow) *float64, operator, value string,
) (func(*TopRow) bool, error) {
	want, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSuffix(value, "%"), "ms"), 64)
	if err != nil {
		return nil, fmt.Errorf("%s: %q is no number", term, value)
	}
	compare := map[string]func(float64) bool{
		"<": func(v float64) bool {
			return v < want
		}, "<=": func(v float64) bool { return v <= want },
		">": func(v float64) bool {
			return v > want
		}, ">=": func(v float64) bool { return v >= want },
		"=": func(v float64) bool {
			return v == want
		}, "!=": func(v float64) bool { return v != want },
	}[operator]
	if compare == nil {
		return nil, fmt.Errorf("%s: numbers compare with < <= > >= = !=", term)
	}
	return func(r *TopRow) bool {
		v := get(r)
		return v != nil && compare(*v)
	}, nil
}

func wordTerm(
	term string, get func(*TopRow) string, operator, value string,
) (func(*TopRow) bool, error) {
	want := strings.ToLower(value)
	has := func(r *TopRow) bool { return strings.Contains(strings.ToLower(get(r)), want) }
	is := func(r *TopRow) bool { return strings.EqualFold(get(r), value) }
	switch operator {
	case "~":
		return has, nil
	case "!~":
		return func(r *TopRow) bool { return !has(r) }, nil
	case "=":
		return is, nil
	case "!=":
		return func(r *TopRow) bool { return !is(r) }, nil
	}
	return nil, fmt.Errorf("%s: text compares with = != ~ !~", term)
}
