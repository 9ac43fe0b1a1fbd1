package destination

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// judges is a hub at work, and what it says of the one profile that there is.
type judges struct {
	t    *testing.T
	reg  *registry.Registry
	hub  *hub
	all  *standings
	said []string // conditions Programmed, each as it was reported
}

func profileWith(timeout string) string {
	return `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: all, condition: {method: GET}, timeout: ` + timeout + `}]}`
}

func judging(t *testing.T, f func(j *judges)) {
	synctest.Test(t, func(t *testing.T) {
		j := &judges{t: t, reg: registryOf(t, cluster, profileWith("1s"))}
		j.hub, j.all = newHub(j.reg, testMesh()), newStandings(j.reg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go j.hub.run(ctx)
		go j.all.run(ctx)
		go (&Destination{hub: j.hub}).watchReports(ctx, func(r *status.Report) {
			if c := meta.FindStatusCondition(r.Want.Conditions, status.Programmed); c != nil {
				j.said = append(j.said, fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message))
			}
		})
		synctest.Wait()
		f(j)
		cancel()
		synctest.Wait()
	})
}

// proxy is a stream that asks for web, and has been answered.
func (j *judges) proxy(i int) *stream {
	j.t.Helper()
	s := newStream(j.hub, caller{namespace: "shop", pod: fmt.Sprintf("web-%d", i)},
		newRejections(slog.New(slog.DiscardHandler)),
		func(*api.DiscoverResponse) error { return nil })
	s.standings = j.all
	sub := &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: authority("web")}}
	j.says(s, &api.DiscoverRequest{Message: sub})
	j.says(s, resume(true))
	return s
}

func (j *judges) says(s *stream, m *api.DiscoverRequest) {
	j.t.Helper()
	if err := s.receive(m); err != nil {
		j.t.Fatal(err)
	}
	if err := s.flush(); err != nil {
		j.t.Fatal(err)
	}
}

// wants waits until all is published, and compares the last word.
func (j *judges) wants(what, want string) {
	j.t.Helper()
	time.Sleep(2 * standingEvery)
	synctest.Wait()
	if last := j.said[len(j.said)-1]; !strings.HasPrefix(last, want) {
		j.t.Errorf("%s: the condition is %q, want %q", what, last, want)
	}
}

func rejected(s *stream, id resourceID, reason string) *api.DiscoverRequest {
	return &api.DiscoverRequest{Message: &api.DiscoverRequest_Rejected{Rejected: &api.Rejected{
		Kind: id.kind, Name: id.name, Version: s.view.holding(id).version(), Reason: reason,
	}}}
}

// A policy's status says whether proxies have it, and who cannot use it and why; it says so in few
// words, however many proxies come and go.
func TestAPolicyTellsWhatProxiesMadeOfIt(t *testing.T) {
	judging(t, func(j *judges) {
		j.wants("without a proxy", "Unknown Pending")
		var streams []*stream
		for i := range 100 {
			streams = append(streams, j.proxy(i))
			time.Sleep(time.Second)
		}
		j.wants("with proxies", "True Programmed of the proxies that are connected, about ")
		if n := len(j.said); n > 9 { // the first word, and each time they are twice as many
			t.Errorf("100 proxies make %d reports:\n%s", n, strings.Join(j.said, "\n"))
		}

		route := resourceID{api.Kind_KIND_ROUTE, "authority/web"}
		before := len(j.said)
		for _, i := range []int{7, 3} {
			j.says(streams[i], rejected(streams[i], route, "no such filter"))
		}
		j.wants("two cannot use it", "False Rejected of the proxies that are connected, "+
			"about 2 of 100 cannot use it and keep what they had: "+
			"shop/web-3 (no such filter), shop/web-7 (no such filter)")
		if n := len(j.said) - before; n > 2 {
			t.Errorf("two rejections make %d reports", n)
		}

		before = len(j.said)
		for i := len(streams) - 1; i >= 0; i-- { // each comes before the last one by name, about
			j.says(streams[i], rejected(streams[i], route, "no such filter"))
			time.Sleep(10 * time.Millisecond)
		}
		j.wants("all cannot use it", "False Rejected of the proxies that are connected, "+
			"about 100 of 100 cannot use it and keep what they had: shop/web-0 (no such filter)")
		if n := len(j.said) - before; n > 2 {
			t.Errorf("a hundred rejections in a second make %d reports", n)
		}

		apply(j.reg, objectsOf(t, profileWith("2s"))...)
		synctest.Wait()
		for _, s := range streams {
			if err := s.flush(); err != nil {
				t.Fatal(err)
			}
		}
		j.wants("the next version", "True Programmed")
		for _, s := range streams {
			s.close()
		}
		j.wants("all have left", "Unknown Pending")
		if len(j.all.by)+len(j.all.last)+len(j.all.changed) != 0 {
			t.Errorf("left are %v, %v", j.all.by, j.all.last)
		}
	})
}

// A proxy counts once, by whatever keys it has come to a policy, and no longer when it has let go
// of all of them.
func TestAProxyCountsOnceForAPolicy(t *testing.T) {
	judging(t, func(j *judges) {
		s := j.proxy(1)
		key := address("10.96.0.10:80")
		j.says(s, &api.DiscoverRequest{Message: &api.DiscoverRequest_Subscribe{
			Subscribe: &api.Subscribe{Key: key}}})
		j.wants("two keys", "True Programmed of the proxies that are connected, about 1 ")
		for _, k := range []*api.Key{key, authority("web")} {
			j.says(s, &api.DiscoverRequest{Message: &api.DiscoverRequest_Unsubscribe{
				Unsubscribe: &api.Unsubscribe{Key: k}}})
			if k == key {
				j.wants("one key", "True Programmed")
			}
		}
		j.wants("no key", "Unknown Pending")
		s.close()
	})
}

// What the proxies of another replica made of a policy counts too, until that replica is gone.
func TestReplicasTellEachOtherHowAPolicyStands(t *testing.T) {
	judging(t, func(j *judges) {
		here := []*stream{j.proxy(0), j.proxy(1), j.proxy(2)}
		j.wants("alone", "True Programmed of the proxies that are connected, about 3 ")

		mine, other := j.all, newStandings(registryOf(t, cluster))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go other.run(ctx)
		j.all = other // of the proxies that come now
		there := []*stream{j.proxy(10), j.proxy(11), j.proxy(12), j.proxy(13)}
		time.Sleep(2 * standingEvery)

		r := &relay{wake: make(chan struct{}, 1), policies: map[registry.PolicyRef]struct{}{}}
		told := &peerStandings{}
		other.join(r)
		go r.tell(ctx, func(m *api.RelayResponse) { other.take(r, m) },
			func(m *api.RelayResponse) error {
				mine.hear(told, m.Standings)
				return nil
			})
		j.wants("together", "True Programmed of the proxies that are connected, about 7 ")

		route := resourceID{api.Kind_KIND_ROUTE, "authority/web"}
		j.says(there[2], rejected(there[2], route, "no such filter"))
		j.wants("one there cannot use it", "False Rejected of the proxies that are connected, "+
			"about 1 of 7 cannot use it and keep what they had: shop/web-12 (no such filter)")
		j.says(here[1], rejected(here[1], route, "nor here"))
		j.wants("and one here", "False Rejected of the proxies that are connected, about 2 of 7 "+
			"cannot use it and keep what they had: shop/web-1 (nor here), "+
			"shop/web-12 (no such filter)")
		for _, s := range here {
			s.close()
		}
		j.wants("none is here", "False Rejected of the proxies that are connected, about 1 of 4 ")
		mine.forget(told)
		j.wants("the other is gone", "Unknown Pending")
	})
}
