package plane

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Service is what destination is told of: addresses of one port, behind a proxy at Mesh if that is
// not empty.
type Service struct {
	Name        string
	Addresses   []string
	Mesh        string
	AppProtocol string // of its port; empty: nobody has said
	Strict      bool   // its pod takes calls from the mesh only
}

// Write replaces all that destination knows.
func (p *Plane) Write(services ...Service) error {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", p.namespace)
	for i, s := range services {
		if err := p.writeService(&b, s, i+1); err != nil {
			return err
		}
		if s.Mesh != "" {
			p.writePod(&b, s)
		}
	}
	return p.put("services.yaml", b.String())
}

// Tell replaces what destination is told of routes and policies, in YAML.
func (p *Plane) Tell(objects string) error { return p.put("policies.yaml", objects) }

// put writes a file of the folder that destination watches: it must not see half of it.
func (p *Plane) put(name, text string) error {
	whole := filepath.Join(p.dir, name)
	if err := os.WriteFile(whole, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(whole, filepath.Join(p.objects(), name))
}

func (p *Plane) writeService(w io.Writer, s Service, n int) error {
	pod, port, declared := "", "", ""
	if s.AppProtocol != "" {
		declared = fmt.Sprintf(", appProtocol: %q", s.AppProtocol)
	}
	if s.Mesh != "" {
		pod = fmt.Sprintf(", targetRef: {kind: Pod, namespace: %s, name: %s}", p.namespace, s.Name)
	}
	var endpoints strings.Builder
	for _, a := range s.Addresses {
		var host string
		var err error
		if host, port, err = net.SplitHostPort(a); err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
		fmt.Fprintf(&endpoints, "- {addresses: [%s], conditions: {ready: true}%s}\n", host, pod)
	}
	fmt.Fprintf(w,
		"---\napiVersion: v1\nkind: Service\nmetadata: {namespace: %[1]s, name: %[2]s}\n"+
			"spec: {clusterIP: 10.96.0.%[3]d, clusterIPs: [10.96.0.%[3]d], ports: [{name: p, "+
			"port: 80, protocol: TCP%[6]s}]}\n---\n"+
			"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {namespace: %[1]s, "+
			"name: %[2]s, labels: {kubernetes.io/service-name: %[2]s}}\n"+
			"addressType: IPv4\nports: [{name: p, port: %[4]s, protocol: TCP}]\nendpoints:\n%[5]s",
		p.namespace, s.Name, n, port, endpoints.String(), declared)
	return nil
}

func (p *Plane) writePod(w io.Writer, s Service) {
	mode := "permissive"
	if s.Strict {
		mode = "strict"
	}
	var ips []string
	for _, a := range s.Addresses {
		host, _, _ := net.SplitHostPort(a) // writeService has split it
		ips = append(ips, "{ip: "+host+"}")
	}
	fmt.Fprintf(w, "---\napiVersion: v1\nkind: Pod\n"+
		"metadata: {namespace: %[1]s, name: %[2]s, labels: {tulle.dev/mesh: tulle}, "+
		"annotations: {tulle.dev/mesh-address: %[3]q, tulle.dev/mode: %[4]s}}\n"+
		"spec: {serviceAccountName: %[2]s, containers: [{name: app}], "+
		"initContainers: [{name: tulle-proxy, restartPolicy: Always}]}\n"+
		"status: {phase: Running, podIP: 127.0.0.1, podIPs: [%[5]s]}\n",
		p.namespace, s.Name, s.Mesh, mode, strings.Join(ips, ", "))
}
