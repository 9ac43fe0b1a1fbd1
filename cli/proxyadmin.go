package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

// maxPage bounds what is read of one page of a proxy's admin port.
const maxPage = 256 << 20

// proxyAdmin is a proxy's admin port. What only the pod itself may ask is asked by a port-forward,
// so RBAC's pods/portforward decides who may.
type proxyAdmin struct {
	namespace, pod string
	open           func(context.Context) (addr string, stop func(), err error)
	server         bool // it is a server's of the control plane
}

func (p *proxyAdmin) String() string {
	if p.server {
		return p.namespace + "/" + p.pod
	}
	return "the proxy of " + p.namespace + "/" + p.pod
}

// proxyAdmins are those of POD, or of each pod of KIND/NAME: in the mesh of `meshctl dev up` in
// this folder, or on Kubernetes.
func (a *app) proxyAdmins(ctx context.Context, resource string) ([]proxyAdmin, error) {
	ports, err := a.devMesh()
	if err != nil {
		return nil, err
	}
	if ports != nil {
		return devAdmins(ports, resource)
	}
	pods, err := a.workloadPods(ctx, resource)
	if err != nil {
		return nil, err
	}
	var out []proxyAdmin
	for i := range pods {
		pod := &pods[i]
		if err := meshedPod(pod); err != nil {
			return nil, err
		}
		out = append(out, proxyAdmin{namespace: pod.Namespace, pod: pod.Name,
			open: func(ctx context.Context) (string, func(), error) {
				return a.forwardPod(ctx, pod, config.AdminPort)
			}})
	}
	return out, nil
}

func devAdmins(ports *dev.Ports, resource string) (out []proxyAdmin, err error) {
	kind, name := "pod", resource
	if strings.Contains(resource, "/") {
		if kind, name, err = viz.ParseResource(resource); err != nil {
			return nil, err
		}
	}
	for _, i := range ports.Instances {
		is := kind == "pod" && i.Name == name || kind == "service" && i.Service == name ||
			kind == "deployment" && i.Workload == name
		if !is || i.Admin == "" {
			continue
		}
		addr := i.Admin
		out = append(out, proxyAdmin{namespace: ports.Namespace, pod: i.Name,
			open: func(context.Context) (string, func(), error) { return addr, func() {}, nil }})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no instance %s here has a proxy: 'meshctl dev status' lists them",
			resource)
	}
	return out, nil
}

// ask asks for one page, within a time.
func (p *proxyAdmin) ask(
	ctx context.Context, addr, method, path, body string,
) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path,
		strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", p, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w", p, err)
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s knows no %s: is it older than this meshctl?", p, path)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s: %s", p, resp.Status,
			strings.TrimSpace(string(text)))
	}
	return text, nil
}

// levels are those that a proxy may log at.
var levels = []string{"debug", "info", "warn", "error"}

// setLevel has the proxy log at a level, for a while unless that is 0, and returns what it says.
func (p *proxyAdmin) setLevel(ctx context.Context, level string, d time.Duration) (string, error) {
	addr, stop, err := p.open(ctx)
	if err != nil {
		return "", err
	}
	defer stop()
	if d > 0 {
		level += " " + d.String()
	}
	said, err := p.ask(ctx, addr, http.MethodPut, "/log-level", level)
	return strings.TrimSpace(string(said)), err
}
