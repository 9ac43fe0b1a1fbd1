package route

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Mirror is a cluster that gets copies of some of the requests.
type Mirror struct {
	Index   int // of the cluster among the route's
	cluster string

	numerator, denominator uint64
	count                  atomic.Uint64
}

func compileMirror(m *api.Mirror) (*Mirror, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	if m.GetCluster() == "" {
		return nil, errors.New("a mirror that names no cluster")
	}
	if m.Numerator == 0 || m.Numerator > m.Denominator {
		return nil, fmt.Errorf("a mirror of %d of %d requests", m.Numerator, m.Denominator)
	}
	return &Mirror{
		cluster: m.Cluster, numerator: uint64(m.Numerator), denominator: uint64(m.Denominator),
	}, nil
}

// Takes reports whether the next request is copied. As with Picker, of any hundred requests 10 % is
// ten, give or take one, not a dice roll, and without a lock.
func (m *Mirror) Takes() bool {
	return within(m.count.Add(1)*golden, m.numerator, m.denominator)
}
