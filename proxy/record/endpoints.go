package record

import "github.com/tulle-mesh/tulle/viz/api"

// ask takes viz's questions about endpoints. It asks so many at once: what is more is not answered.
func (r *Records) ask(all []*api.EndpointsQuestion) {
	for _, q := range all {
		select {
		case r.asked <- q:
		default:
			return
		}
	}
}

// unask forgets what was asked on a stream that has ended: on another one the same ID may be of
// another question.
func (r *Records) unask() {
	for len(r.asked) > 0 {
		<-r.asked
	}
}

// answer answers a question about endpoints, once and at once: somebody waits for it.
func (b *batch) answer(q *api.EndpointsQuestion) error {
	m := b.from.Endpoints(q.GetClusters())
	m.Id = q.GetId()
	return b.stream.Send(&api.RecordsRequest{StartId: b.from.StartID, Dropped: b.dropped,
		Endpoints: []*api.EndpointsAnswer{m}})
}
