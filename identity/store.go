package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/identity/names"
)

const (
	// managedByLabel, with the value names.Mesh, is on what identity makes.
	managedByLabel = "app.kubernetes.io/managed-by"
	caKey          = "ca.crt" // in the issuer's Secret, where cert-manager puts the roots

	rereadEvery = time.Minute     // a watch can miss a change; Linkerd's did
	rereadSoon  = 2 * time.Second // while there is no issuer, nobody gets a certificate
	callTimeout = 10 * time.Second
)

// store keeps the authority's issuer what the Secret says.
type store struct {
	client    kubernetes.Interface
	namespace string
	authority *authority
	events    *events
	log       *slog.Logger

	// of run's goroutine
	used    material
	refused material
	missing bool
}

// run follows the Secret until the context ends.
func (s *store) run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	stop, err := s.watch(ctx, changed)
	if err != nil {
		return err
	}
	defer stop()
	for {
		if err := s.load(ctx); err != nil && ctx.Err() == nil {
			s.report(err)
		}
		again := time.NewTimer(s.pause())
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
		again.Stop()
	}
}

func (s *store) report(err error) {
	s.log.Error("cannot use the issuer", "secret", s.namespace+"/"+names.IssuerSecret, "err", err)
	if s.authority.issuer.Load() == nil {
		s.authority.source.SetProblem(fmt.Errorf("no issuer: %w", err)) // readiness repeats it
	}
}

func (s *store) pause() time.Duration {
	if s.authority.issuer.Load() == nil {
		return rereadSoon
	}
	return rereadEvery
}

// watch only says that something changed; what, is read afresh.
func (s *store) watch(ctx context.Context, changed chan<- struct{}) (stop func(), err error) {
	factory := informers.NewSharedInformerFactoryWithOptions(
		s.client, 0, informers.WithNamespace(s.namespace),
		informers.WithTweakListOptions(named(names.IssuerSecret)))
	informer := factory.Core().V1().Secrets().Informer()
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) {
			poke()
		}, UpdateFunc: func(_, _ any) { poke() }, DeleteFunc: func(any) { poke() },
	})
	if err != nil {
		return nil, fmt.Errorf("watch the issuer's Secret: %w", err)
	}
	factory.Start(ctx.Done())
	return factory.Shutdown, nil
}

// named restricts a watch to one name, so that RBAC can too.
func named(name string) func(*meta.ListOptions) {
	return func(o *meta.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
	}
}

func (s *store) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	secret, err := s.read(ctx)
	if apierrors.IsNotFound(err) && s.authority.issuer.Load() != nil {
		return s.reportMissing()
	}
	if apierrors.IsNotFound(err) {
		secret, err = s.create(ctx)
	}
	if err != nil {
		return fmt.Errorf("read the issuer: %w", err)
	}
	s.missing = false
	return s.apply(material{secret.Data[core.TLSCertKey], secret.Data[core.TLSPrivateKeyKey],
		secret.Data[caKey]})
}

func (s *store) read(ctx context.Context) (*core.Secret, error) {
	return s.client.CoreV1().Secrets(s.namespace).Get(ctx, names.IssuerSecret, meta.GetOptions{})
}

// reportMissing says, once, that the Secret is gone. The issuer in memory stays: a new one would
// cut every running proxy off from every new one.
func (s *store) reportMissing() error {
	if s.missing {
		return nil
	}
	s.missing = true
	s.events.warn(s.reference(), "IssuerMissing",
		"the issuer's Secret was deleted; restore it: it is used from memory until identity "+
			"restarts")
	return errors.New(
		"the Secret was deleted: restore it; it is used from memory until identity restarts")
}

// create makes the first issuer. Of two replicas that race here one wins, and both read what the
// winner stored.
func (s *store) create(ctx context.Context) (*core.Secret, error) {
	m, err := makeIssuer(s.authority.trustDomain)
	if err != nil {
		return nil, err
	}
	secret := &core.Secret{
		ObjectMeta: meta.ObjectMeta{Name: names.IssuerSecret, Namespace: s.namespace,
			Labels: map[string]string{managedByLabel: names.Mesh}},
		Type: core.SecretTypeTLS,
		Data: map[string][]byte{core.TLSCertKey: m.chain, core.TLSPrivateKeyKey: m.key,
			caKey: m.roots},
	}
	_, err = s.client.CoreV1().Secrets(s.namespace).Create(ctx, secret, meta.CreateOptions{})
	switch {
	case err == nil:
		s.log.Info("made an issuer, for there was none", "secret",
			s.namespace+"/"+names.IssuerSecret)
	case !apierrors.IsAlreadyExists(err):
		return nil, fmt.Errorf("store a new one: %w", err)
	}
	return s.read(ctx)
}

// apply takes a new issuer over, or skips it and says why: the one in use stays.
func (s *store) apply(m material) error {
	if m.equal(s.used) {
		return nil
	}
	next, err := parseIssuer(s.authority.trustDomain, m)
	if err != nil {
		return s.skip(m, err)
	}
	first := s.authority.issuer.Load() == nil
	s.used, s.refused = m, material{}
	s.authority.use(next)
	s.log.Info("using the issuer", "subject", next.cert.Subject, "expires", next.notAfter, "roots",
		len(next.roots))
	if !first {
		s.events.post(s.reference(), core.EventTypeNormal, "IssuerUpdated",
			"new certificates are signed by the new issuer")
	}
	return nil
}

// skip says it once for each content, although the clock may yet make it valid and it is tried
// again.
func (s *store) skip(m material, why error) error {
	if m.equal(s.refused) {
		return nil
	}
	s.refused = m
	s.events.warn(s.reference(), "IssuerUpdateSkipped", why.Error())
	return fmt.Errorf("skipped what the Secret holds: %w", why)
}

func (s *store) reference() core.ObjectReference {
	return core.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: s.namespace,
		Name: names.IssuerSecret}
}

func (m material) equal(other material) bool {
	return bytes.Equal(m.chain, other.chain) && bytes.Equal(m.key, other.key) &&
		bytes.Equal(m.roots, other.roots)
}

// trusted is the bundle as ConfigMaps hold it.
func (a *authority) trusted() string {
	return string(encodeRoots(a.source.Bundles()[a.trustDomain]))
}
