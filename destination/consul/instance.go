package consul

import (
	"encoding/json"
	"fmt"
)

// instance is what Consul's health endpoint says of one instance of a service, as far as it is of
// use here.
type instance struct {
	Node struct {
		Node, Address, Datacenter string
	}
	Service struct {
		ID, Kind, Address string
		Tags              []string
		Meta              map[string]string
		Port              int
		Weights           struct{ Passing, Warning int }
	}
	Checks []struct{ Status string } // of the instance, and of its node
}

// health is the worst of an instance's checks.
type health uint8

const (
	passing health = iota
	warning
	critical
)

// health is passing where nothing is checked. A state that is not known is no permission.
func (i *instance) health() (worst health) {
	for _, check := range i.Checks {
		switch check.Status {
		case "passing":
		case "warning":
			worst = max(worst, warning)
		default: // maintenance is a check too, which is critical
			worst = critical
		}
	}
	return worst
}

// maxWeight is Consul's own bound.
const maxWeight = 65535

// weight is the instance's share, compared to others of its service; 0 where it is to get nothing.
// One that says no weights, as those of Consul before 1.2.3, has the weight of most, whatever its
// health.
func (i *instance) weight() uint32 {
	w := i.Service.Weights
	if w.Passing <= 0 {
		w.Passing, w.Warning = 1, 1
	}
	switch i.health() {
	case passing:
		return uint32(min(w.Passing, maxWeight))
	case warning:
		return uint32(max(0, min(w.Warning, maxWeight)))
	}
	return 0
}

// decodeInstances reads the body of /v1/health/service/NAME.
func decodeInstances(body []byte) (out []instance, err error) {
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, fmt.Errorf("read a service's instances: %w", err)
	}
	return out, nil
}

// decodeServices reads the body of /v1/catalog/services: tags by the names of services.
func decodeServices(body []byte) (names []string, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("read the catalog's services: %w", err)
	}
	for name := range all {
		names = append(names, name)
	}
	return names, nil
}
