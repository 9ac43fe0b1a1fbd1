package viz

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/viz/api"
)

// errBusy marks questions for which there is no room now.
var errBusy = errors.New("viz is busy")

// survey is a question to some proxies about the endpoints that they call. Each answers once.
type survey struct {
	id      uint32
	due     map[reporter]struct{} // who is yet to answer; the hub's lock guards it
	asked   int
	answers chan endpointsAnswer // has room for all
}

type endpointsAnswer struct {
	who reporter
	at  time.Time
	*api.EndpointsAnswer
}

// ask puts a question to proxies, each about clusters of its own. Those that show nothing to viz
// are not asked. Its asker must end it.
func (h *hub) ask(clusters map[reporter][]string) (*survey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.surveys) >= api.MaxQuestions {
		return nil, fmt.Errorf("%w: it asks proxies %d questions already: try again", errBusy,
			api.MaxQuestions)
	}
	h.next++
	s := &survey{id: h.next, due: map[reporter]struct{}{},
		answers: make(chan endpointsAnswer, len(clusters))}
	for who, some := range clusters {
		one := h.streams[who]
		if one == nil {
			continue
		}
		s.due[who] = struct{}{}
		one.asked = append(one.asked, &api.EndpointsQuestion{Id: s.id, Clusters: some})
		serve.Wake(one.ctx)
	}
	s.asked = len(s.due)
	h.surveys[s.id] = s
	return s, nil
}

// over ends a survey: what was not sent of it is not sent any more.
func (h *hub) over(s *survey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.surveys, s.id)
	for who := range s.due {
		if one := h.streams[who]; one != nil {
			one.asked = slices.DeleteFunc(one.asked,
				func(q *api.EndpointsQuestion) bool { return q.Id == s.id })
		}
	}
}

// answered takes answers of a proxy. What nobody has asked it, or not any more, counts for nothing.
func (h *hub) answered(one *watched, all []*api.EndpointsAnswer) {
	if len(all) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range all {
		s := h.surveys[m.GetId()]
		if s == nil {
			continue
		}
		if _, due := s.due[one.who]; due {
			delete(s.due, one.who)
			s.answers <- endpointsAnswer{one.who, time.Now(), m}
		}
	}
}

// wait gathers answers until all are there, or the time is over.
func (s *survey) wait(most time.Duration) (all []endpointsAnswer) {
	late := time.NewTimer(most)
	defer late.Stop()
	for len(all) < s.asked {
		select {
		case a := <-s.answers:
			all = append(all, a)
		case <-late.C:
			return all
		}
	}
	return all
}

// checkAnswers refuses what no proxy of ours answers.
func checkAnswers(all []*api.EndpointsAnswer) error {
	if len(all) > api.MaxQuestions {
		return status.Errorf(codes.ResourceExhausted,
			"the message has %d answers about endpoints: the limit is %d", len(all),
			api.MaxQuestions)
	}
	for _, m := range all {
		if n := len(m.GetEndpoints()); n > api.MaxEndpoints {
			return status.Errorf(codes.ResourceExhausted,
				"an answer has %d endpoints: the limit is %d", n, api.MaxEndpoints)
		}
		for _, e := range m.GetEndpoints() {
			if err := checkStanding(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkStanding(m *api.EndpointStanding) error {
	if endpointStates[m.GetState()] == "" {
		return status.Errorf(codes.InvalidArgument, "an endpoint's state is %d, which viz does "+
			"not know", m.GetState())
	}
	w := m.Workload
	for _, text := range []string{m.Cluster, m.Address, w.GetNamespace(), w.GetKind(), w.GetName(),
		w.GetPod()} {
		if len(text) > MaxLabelLength {
			return status.Errorf(codes.InvalidArgument,
				"a text of an endpoint has %d bytes: the limit is %d", len(text), MaxLabelLength)
		}
	}
	if max(m.EwmaUs, m.InFlight) > maxCounter ||
		m.UntilMs > uint64(maxUptime/time.Millisecond) {
		return status.Error(codes.InvalidArgument, "a number of an endpoint is out of all bounds")
	}
	return nil
}
