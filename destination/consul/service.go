package consul

import (
	"context"
	"net/url"
	"reflect"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// service is one that is followed. Its goroutine owns everything but stop and done.
type service struct {
	name     string
	source   *Source
	question question
	stop     context.CancelFunc
	done     chan struct{}

	now     map[objectID]registry.Object // what the registry has been given
	problem string                       // as it was logged last
}

type objectID struct {
	kind reflect.Type
	name registry.Name
}

// newService is followed once its goroutine runs.
func (s *Source) newService(name string) *service {
	v := &service{name: name, source: s, done: make(chan struct{}),
		now: map[objectID]registry.Object{}}
	v.question = question{what: "service " + name, watch: instanceWatch,
		path: "/v1/health/service/" + url.PathEscape(name), take: v.take}
	return v
}

func (v *service) run(ctx context.Context) {
	defer close(v.done)
	v.source.follow(ctx, &v.question)
}

// take gives the registry the difference between an answer and what it has.
func (v *service) take(r reply) error {
	all, err := decodeInstances(r.body)
	if err != nil {
		return err
	}
	objects, problem := v.source.mapping.objects(v.name, all)
	v.report(problem)
	next := map[objectID]registry.Object{}
	for _, obj := range objects {
		next[objectID{reflect.TypeOf(obj), obj.Key()}] = obj
	}
	v.give(next)
	v.source.state.took(&v.question)
	return nil
}

func (v *service) give(next map[objectID]registry.Object) {
	var change registry.Change
	for id, obj := range v.now {
		if next[id] == nil {
			change.Delete = append(change.Delete, obj)
		}
	}
	for id, obj := range next {
		if !reflect.DeepEqual(v.now[id], obj) {
			change.Set = append(change.Set, obj)
		}
	}
	v.now = next
	v.source.owner.Apply(change)
}

// report logs what is left out, once.
func (v *service) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != v.problem {
		v.source.cfg.Log.Warn("instances of a Consul service are left out", "service", v.name,
			"error", err)
	}
	v.problem = text
}

// end stops following the service, waits for that, and takes it out of the registry.
func (v *service) end() {
	v.stop()
	<-v.done
	v.give(nil)
	v.source.state.remove(&v.question)
}
