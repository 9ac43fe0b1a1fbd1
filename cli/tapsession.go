package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/viz"
)

const (
	// revokeTimeout is for the end of a session: its user waits for the prompt.
	revokeTimeout = 5 * time.Second
	// renewEvery is how often a page gets another session, and renewAgain how soon after that was
	// not possible.
	renewEvery = crd.TapSessionLifetime / 2
	renewAgain = time.Minute
)

// tapGrant is the API server's leave to tap: a session whose nonce this process alone knows.
type tapGrant struct {
	nonce   string
	where   string // "namespace shop"
	name    string
	objects dynamic.ResourceInterface
}

// grantTap makes a session in the first of the namespaces in which the user may, and without any
// one for all that there are.
func (a *app) grantTap(ctx context.Context, namespaces []string) (*tapGrant, error) {
	_, untyped, err := a.clients()
	if err != nil {
		return nil, err
	}
	if len(namespaces) == 0 {
		all := &tapGrant{where: "the whole cluster",
			objects: untyped.Resource(crd.ClusterTapSessionResource())}
		return all, all.create(ctx, crd.ClusterTapSessionKind)
	}
	for _, ns := range namespaces {
		one := &tapGrant{where: "namespace " + ns,
			objects: untyped.Resource(crd.TapSessionResource()).Namespace(ns)}
		createErr := one.create(ctx, crd.TapSessionKind)
		if createErr == nil {
			return one, nil
		}
		err = errors.Join(err, createErr)
	}
	return nil, err
}

// create makes the session.
func (g *tapGrant) create(ctx context.Context, kind string) error {
	g.nonce = crd.NewTapNonce()
	session := &crd.TapSession{
		TypeMeta:   metav1.TypeMeta{APIVersion: crd.APIVersion, Kind: kind},
		ObjectMeta: metav1.ObjectMeta{GenerateName: "tap-"},
		Spec:       crd.TapSessionSpec{NonceHash: crd.TapNonceHash(g.nonce)},
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(session)
	if err != nil {
		return fmt.Errorf("make a %s: %w", kind, err)
	}
	made, err := g.objects.Create(ctx, &unstructured.Unstructured{Object: object},
		metav1.CreateOptions{})
	if err != nil {
		return g.explain(err, kind)
	}
	g.name = made.GetName()
	return nil
}

// explain adds the next step to the API server's refusal.
func (g *tapGrant) explain(err error, kind string) error {
	next := ""
	switch {
	case apierrors.IsForbidden(err):
		bind := "create clusterrolebinding"
		if kind == crd.TapSessionKind {
			bind = "-n " + strings.TrimPrefix(g.where, "namespace ") + " create rolebinding"
		}
		next = fmt.Sprintf("\nWho taps must be able to create %ss in %s. The ClusterRole %s lets "+
			"them: kubectl %s NAME --clusterrole=%s --user=USER", strings.ToLower(kind), g.where,
			names.TapRole, bind, names.TapRole)
	case apierrors.IsNotFound(err):
		next = "\nThe API server does not know the kind: meshctl install --crds | kubectl apply " +
			"-f -"
	}
	return fmt.Errorf("make a %s in %s: %w%s", kind, g.where, err, next)
}

// revoke ends the session, whatever has ended the command.
func (g *tapGrant) revoke(a *app) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
	defer cancel()
	err := g.objects.Delete(ctx, g.name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		fmt.Fprintf(a.ErrOut, "the session %s in %s is left, and ends by itself within %s: %v\n",
			g.name, g.where, crd.TapSessionLifetime, err)
	}
}

// tapSessions let a page tap as the user while it is there: each is made before the last one ends.
type tapSessions struct {
	app        *app
	namespaces []string
	current    atomic.Pointer[tapGrant] // nil: there is none
}

// pageSessions makes a page's first session if viz wants one: for all namespaces if the user may,
// or else for the one of the kubeconfig. Without leave the page shows all but single requests.
func (v *vizApp) pageSessions(ctx context.Context, link *vizLink) *tapSessions {
	s := &tapSessions{app: v.app}
	err := link.current().Tap(ctx, &viz.TapQuery{Duration: time.Millisecond},
		func(viz.TapLine) error { return nil })
	if !errors.Is(err, viz.ErrSession) {
		return s
	}
	one, err := v.grantTap(ctx, nil)
	if apierrors.IsForbidden(err) {
		var ns string
		if ns, err = v.namespace(); err == nil {
			s.namespaces = []string{ns}
			one, err = v.grantTap(ctx, s.namespaces)
		}
	}
	if err != nil {
		fmt.Fprintln(v.ErrOut, "The page shows no live requests:", err)
		return s
	}
	s.current.Store(one)
	return s
}

// nonce is the current session's; "": there is none.
func (s *tapSessions) nonce() string {
	if one := s.current.Load(); one != nil {
		return one.nonce
	}
	return ""
}

// run makes one session after the other until the context ends, and then ends the last.
func (s *tapSessions) run(ctx context.Context) {
	if s.current.Load() == nil {
		return
	}
	next := time.NewTimer(renewEvery)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			after := renewEvery
			if !s.renew(ctx) {
				after = renewAgain
			}
			next.Reset(after)
		case <-ctx.Done():
			s.current.Load().revoke(s.app)
			return
		}
	}
}

// renew has the next session take the place of the last, whose taps end: a page asks again.
func (s *tapSessions) renew(ctx context.Context) bool {
	one, err := s.app.grantTap(ctx, s.namespaces)
	if err != nil {
		if ctx.Err() == nil {
			fmt.Fprintln(s.app.ErrOut, "Live requests may end:", err)
		}
		return false
	}
	s.current.Swap(one).revoke(s.app)
	return true
}
