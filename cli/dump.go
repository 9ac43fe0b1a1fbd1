package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// page is what is asked for, and what it is called in an archive.
type page struct {
	path, file string
	read       func([]byte) ([]byte, error) // nil: as it is
}

// dumpPages are a proxy's.
var dumpPages = []page{
	{"/debug/proxy", "proxy.json", nil},
	{"/ready", "ready.txt", nil},
	{"/debug/config", "config.json", configJSON},
	{"/debug/clusters", "clusters.ndjson", nil},
	{"/metrics", "metrics.txt", nil},
	{"/debug/goroutines", "goroutines.txt", nil},
	{"/debug/trace", "trace.out", nil},
}

// serverPages are those of every server of the control plane, and loopbackPages those of the ones
// that answer questions on their pod's loopback.
var (
	serverPages   = []page{{"/ready", "ready.txt", nil}, {"/metrics", "metrics.txt", nil}}
	loopbackPages = []page{{serve.StacksPath, "goroutines.txt", nil}}
)

const dumpHelp = `Collect what a pod's proxy, or each proxy of a workload, knows into one archive,
to look at later or to show somebody else:

  proxy.json        version, identity, why it is not ready, revision and age of its config, memory
  config.json       what it holds of destination's: routes, clusters, endpoints, its own ports
  clusters.ndjson   each endpoint: latency (EWMA), requests under way, ejected or not, weight, zone
  metrics.txt       its /metrics
  goroutines.txt    what it is doing
  trace.out         four seconds of the Go runtime's trace, for 'go tool trace'

There is neither a key nor a token nor a certificate in it, and what headers and queries are set to
or compared with is REDACTED. Names of services, pods and paths of routes are in it.

The proxy goes on meanwhile. The trace costs it a few per cent for as long as it takes.

With --control-plane the servers of the control plane are asked instead: metrics, readiness, and of
destination and viz what they are doing.`

func newDumpCommand(a *app) *cobra.Command {
	var file string
	var servers bool
	cmd := &cobra.Command{
		Use:   "dump POD | KIND/NAME | --control-plane",
		Short: "Collect what proxies know into one archive, without secrets",
		Long:  dumpHelp,
		Example: "  meshctl debug dump deploy/web -n shop -o web.tar.gz\n" +
			"  meshctl debug dump web-6f7d9c-x2x4z\n" +
			"  meshctl debug dump --control-plane -o plane.tar.gz",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			if servers == (len(args) == 1) {
				return usagef(cmd, "name a pod or a workload, or --control-plane")
			}
			if file == "" {
				file = "tulle-dump-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
			}
			if servers {
				return a.dumpServers(cmd.Context(), file)
			}
			return a.dump(cmd.Context(), args[0], file)
		},
	}
	cmd.Flags().BoolVar(&servers, "control-plane", false,
		"ask the servers of the control plane instead")
	cmd.Flags().StringVarP(&file, "file", "o", "",
		"the archive to write, a .tar.gz; must not exist (default: named after the time)")
	return cmd
}

func (a *app) dump(ctx context.Context, resource, file string) error {
	all, err := a.proxyAdmins(ctx, resource)
	if err != nil {
		return err
	}
	return a.writeDump(ctx, file, func(d *dumper) error {
		for i := range all {
			fmt.Fprintln(a.ErrOut, "asking", &all[i])
			if err := d.collect(ctx, &all[i], dumpPages); err != nil {
				return err
			}
		}
		return nil
	})
}

// dumpServers collects what every pod of the control plane says.
func (a *app) dumpServers(ctx context.Context, file string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	return a.writeDump(ctx, file, func(d *dumper) error {
		for _, s := range controlPlane {
			pods, err := runningPods(ctx, client, a.meshSpace, "app.kubernetes.io/name="+s.name,
				s.name)
			if err != nil {
				return err
			}
			for i := range pods {
				if err := a.collectServer(ctx, d, s.name, &pods[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (a *app) collectServer(ctx context.Context, d *dumper, name string, pod *corev1.Pod) error {
	at := func(port int) *proxyAdmin {
		return &proxyAdmin{namespace: pod.Namespace, pod: pod.Name, server: true,
			open: func(ctx context.Context) (string, func(), error) {
				return a.forwardPod(ctx, pod, port)
			}}
	}
	fmt.Fprintln(a.ErrOut, "asking", at(0))
	err := d.collect(ctx, at(serve.HealthPort), serverPages)
	switch {
	case err != nil:
		return err
	case name == names.Destination:
		return d.collect(ctx, at(destinationQueryPort), loopbackPages)
	case name == names.Viz:
		return d.collect(ctx, at(config.VizQueryPort), loopbackPages)
	}
	return nil
}

// writeDump writes the archive, whole or not at all.
func (a *app) writeDump(
	ctx context.Context, file string, fill func(*dumper) error,
) (err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(file)
		}
	}()
	z := gzip.NewWriter(f)
	d := &dumper{tar: tar.NewWriter(z), now: time.Now()}
	if err := errors.Join(fill(d), ctx.Err()); err != nil {
		return err
	}
	if err := errors.Join(d.end(), z.Close()); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	fmt.Fprintln(a.Out, file)
	return nil
}

// dumper writes an archive.
type dumper struct {
	tar     *tar.Writer
	now     time.Time
	missing bytes.Buffer // what could not be had, line by line
}

// collect adds some pages. One that is not there, as with an older proxy, is named in errors.txt.
func (d *dumper) collect(ctx context.Context, p *proxyAdmin, pages []page) error {
	addr, stop, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	folder := p.namespace + "_" + p.pod + "/"
	for _, page := range pages {
		text, err := p.ask(ctx, addr, http.MethodGet, page.path, "")
		if err == nil && page.read != nil {
			text, err = page.read(text)
		}
		if err != nil {
			fmt.Fprintf(&d.missing, "%s%s: %v\n", folder, page.file, err)
			continue
		}
		if err := d.add(folder+page.file, text); err != nil {
			return err
		}
	}
	return nil
}

// end completes the archive.
func (d *dumper) end() error {
	if d.missing.Len() > 0 {
		if err := d.add("errors.txt", d.missing.Bytes()); err != nil {
			return err
		}
	}
	return d.tar.Close()
}

func (d *dumper) add(name string, text []byte) error {
	head := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: d.now}
	if err := d.tar.WriteHeader(head); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	if _, err := io.Copy(d.tar, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

// configJSON turns what a proxy holds into text.
func configJSON(text []byte) ([]byte, error) {
	var m api.Resources
	if err := proto.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read what the proxy holds: %w", err)
	}
	return protojson.MarshalOptions{Multiline: true}.Marshal(&m)
}
