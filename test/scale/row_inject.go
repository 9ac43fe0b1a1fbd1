package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	injectSize = 4_000_000
	injectPart = 4 // of it, beside
	// injectRounds of each; the median counts.
	injectRounds = 3
)

// deployment is a manifest as people write them, of a kilobyte.
const deployment = `---
# what the shop is made of
apiVersion: apps/v1
kind: Deployment
metadata:
  name: service-%04d
  namespace: team-%02d
  labels: {app: service-%04[1]d, tier: backend}
spec:
  replicas: 10
  selector:
    matchLabels: {app: service-%04[1]d}
  template:
    metadata:
      labels: {app: service-%04[1]d, tier: backend}
      annotations:
        prometheus.io/scrape: "true"
    spec:
      serviceAccountName: service-%04[1]d
      containers:
      - name: app
        image: registry.example.com/shop/service-%04[1]d:1.2.3
        args: ["--listen=:8080", "--upstream=http://service-0000.team-00"]
        ports:
        - {name: http, containerPort: 8080}
        env:
        - name: DATABASE
          valueFrom: {secretKeyRef: {name: database, key: url}}
        resources:
          requests: {cpu: 100m, memory: 128Mi}
          limits: {memory: 256Mi}
        readinessProbe:
          httpGet: {path: /ready, port: http}
          periodSeconds: 5
        livenessProbe:
          httpGet: {path: /healthz, port: http}
`

// manifests are so many bytes of them, about.
func manifests(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, deployment, i, i/perNamespace)
	}
	return b.Bytes()
}

// inject runs meshctl over one large file, and over a part of one.
func (r *run) inject(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "scale")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	part, err := r.injectFile(ctx, dir, injectSize/injectPart)
	if err != nil {
		return err
	}
	whole, err := r.injectFile(ctx, dir, injectSize)
	if err != nil {
		return err
	}
	r.measured(rowInject, whole, fmt.Sprintf("the median of %d", injectRounds))
	r.measured(rowInjectLinear, whole/part, fmt.Sprintf("1 MB takes %.2f s", part))
	return nil
}

// injectFile is how long a file of that size takes, in seconds.
func (r *run) injectFile(ctx context.Context, dir string, size int) (float64, error) {
	path := filepath.Join(dir, fmt.Sprint(size, ".yaml"))
	text := manifests(size)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return 0, err
	}
	want := bytes.Count(text, []byte("kind: Deployment"))
	var took []float64
	for range injectRounds {
		cmd := exec.CommandContext(ctx, r.meshctl, "inject", path)
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		var said strings.Builder
		cmd.Stderr = &said
		began := time.Now()
		out, err := cmd.Output()
		if err != nil {
			return 0, fmt.Errorf("%s inject: %w: %.500s", r.meshctl, err, said.String())
		}
		took = append(took, time.Since(began).Seconds())
		if n := bytes.Count(out, []byte("name: tulle-proxy")); n < want {
			return 0, fmt.Errorf("%d of %d deployments were injected", n, want)
		}
	}
	return median(took), nil
}
