package route

import (
	"errors"
	"fmt"

	"github.com/tulle-mesh/tulle/destination/api"
)

// statusMatcher is a condition on a response.
type statusMatcher func(status int) bool

func compileStatus(m *api.ResponseMatch) (statusMatcher, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	switch m := m.GetMatch().(type) {
	case *api.ResponseMatch_Status:
		return compileStatusRange(m.Status)
	case *api.ResponseMatch_All:
		return compileStatusList(m.All, true)
	case *api.ResponseMatch_Any:
		return compileStatusList(m.Any, false)
	case *api.ResponseMatch_Not:
		inner, err := compileStatus(m.Not)
		if err != nil {
			return nil, err
		}
		return func(s int) bool { return !inner(s) }, nil
	}
	return nil, errors.New("a match on responses that this proxy does not know")
}

func compileStatusRange(m *api.StatusRange) (statusMatcher, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	lo, hi := int(m.GetMin()), int(m.GetMax())
	if lo > hi {
		return nil, fmt.Errorf("statuses from %d to %d are none", lo, hi)
	}
	return func(s int) bool { return s >= lo && s <= hi }, nil
}

func compileStatusList(list *api.ResponseMatchList, all bool) (statusMatcher, error) {
	if err := api.Understood(list); err != nil {
		return nil, err
	}
	var inner []statusMatcher
	for _, m := range list.GetMatches() {
		f, err := compileStatus(m)
		if err != nil {
			return nil, err
		}
		inner = append(inner, f)
	}
	return func(s int) bool {
		for _, f := range inner {
			if f(s) != all {
				return !all
			}
		}
		return all
	}, nil
}
