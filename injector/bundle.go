package injector

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// bundleEvery is how often the webhook configuration is read when the roots have not changed: it
// may have been overwritten, and until it is right again no pod of the mesh can start. A GET by
// name costs the API server next to nothing.
const bundleEvery = 5 * time.Second

// bundleKeeper keeps the caBundle of our webhooks equal to the trust roots.
type bundleKeeper struct {
	source      *spiffe.Source
	trustDomain spiffeid.TrustDomain
	client      kubernetes.Interface
	log         *slog.Logger

	mu    sync.Mutex // guards state
	state error      // why the caBundle may be wrong; nil: it was right when last looked at
}

func newBundleKeeper(s Server, td spiffeid.TrustDomain) *bundleKeeper {
	return &bundleKeeper{source: s.Source, trustDomain: td, client: s.Client, log: s.Log,
		state: errors.New("not looked at yet")}
}

func (b *bundleKeeper) ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

func (b *bundleKeeper) run(ctx context.Context) error {
	tick := time.NewTicker(bundleEvery)
	defer tick.Stop()
	for {
		changed := b.source.BundlesChanged()
		b.note(ctx, b.sync(ctx))
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// note logs what is wrong once, not every few seconds.
func (b *bundleKeeper) note(ctx context.Context, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && ctx.Err() == nil && (b.state == nil || b.state.Error() != err.Error()) {
		b.log.Warn("the webhook's caBundle may be wrong", "err", err)
	}
	b.state = err
}

// sync writes the roots into every webhook of the configuration that does not have them. Of two
// replicas that race the slower one's write is refused as a conflict; it then finds nothing left to
// do.
func (b *bundleKeeper) sync(ctx context.Context) error {
	want := bundlePEM(b.source.Bundles()[b.trustDomain])
	if want == nil {
		return errors.New("no trust roots yet")
	}
	ctx, cancel := context.WithTimeout(ctx, bundleEvery)
	defer cancel()
	return retry.RetryOnConflict(retry.DefaultRetry, func() error { return b.write(ctx, want) })
}

func (b *bundleKeeper) write(ctx context.Context, want []byte) error {
	hooks := b.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	config, err := hooks.Get(ctx, WebhookName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read webhook configuration %s: %w", WebhookName, err)
	}
	stale := false
	for i := range config.Webhooks {
		if c := &config.Webhooks[i].ClientConfig; !bytes.Equal(c.CABundle, want) {
			c.CABundle, stale = want, true
		}
	}
	if !stale {
		return nil
	}
	if _, err := hooks.Update(ctx, config, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write the caBundle of %s: %w", WebhookName, err)
	}
	b.log.Info("wrote the webhook's caBundle")
	return nil
}

// bundlePEM is in one order for all replicas, or they would overwrite each other for ever.
func bundlePEM(roots []*x509.Certificate) []byte {
	sorted := slices.SortedFunc(slices.Values(roots), func(x, y *x509.Certificate) int {
		return bytes.Compare(x.Raw, y.Raw)
	})
	var out []byte
	for _, root := range sorted {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	return out
}
