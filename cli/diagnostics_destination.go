package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/names"
)

// maxAnswer bounds what is read of destination's answer: a route with all its endpoints.
const maxAnswer = 64 << 20

func newEndpointsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endpoints NAME[:PORT] | IP:PORT",
		Short: "Show the endpoints that a proxy would be told of",
		Long: `Show who is behind a name or an address, as destination would tell a proxy in the
namespace of -n: each endpoint with the identity that its proxy must have, and what that has found
of its health, if it checks it. An endpoint without an identity is not meshed, and is called in
plaintext. One that is unhealthy is listed, and proxies are not told of it, unless all are.`,
		Example: "  meshctl diagnostics endpoints web.shop.svc.cluster.local:80\n" +
			"  meshctl diagnostics endpoints web:80 -n shop -o json",
		Args: cobra.ExactArgs(1),
	}
	out := addOutput(cmd, "table", "wide", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		told, err := a.askDestination(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		retainKinds(told, "endpoints")
		return out.print(a.Out, told.Resources, func(w io.Writer) error {
			return drawEndpoints(w, told, out.wide())
		})
	}
	return cmd
}

func newProfileCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile NAME[:PORT] | IP:PORT",
		Short: "Show the routes, retries and balancing that a proxy would be told of, and why",
		Long: `Show what destination would tell a proxy in the namespace of -n about requests to a
name or an address: its protocol, its routes with their timeouts, retries and backends, the retry
budget, and how the endpoints behind each backend are used; and first which sources (Kubernetes,
Consul) know of it, which of them says its ports, and which ServiceProfiles, routes of the Gateway
API, BackendTrafficPolicies, RateLimitPolicies and FaultInjections are about it, which of these are
used, of a BackendTrafficPolicy which fields, and why others are not.`,
		Example: "  meshctl diagnostics profile web.shop.svc.cluster.local:80\n" +
			"  meshctl diagnostics profile web:80 -n shop -o json",
		Args: cobra.ExactArgs(1),
	}
	out := addOutput(cmd, "yaml", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		told, err := a.askDestination(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		retainKinds(told, "route", "cluster")
		profile := destination.Diagnosis{
			Decisions: told.Decisions, Sources: told.Sources, Policies: told.Policies,
			Resources: told.Resources,
		}
		return out.print(a.Out, profile, nil)
	}
	return cmd
}

// retainKinds drops the resources of other kinds.
func retainKinds(told *explain.Told, kinds ...string) {
	raw, messages := told.Resources, told.Messages
	told.Resources, told.Messages = nil, nil
	for i, r := range messages {
		kind := string(r.ProtoReflect().WhichOneof(
			r.ProtoReflect().Descriptor().Oneofs().ByName("body")).Name())
		if slices.Contains(kinds, kind) {
			told.Messages = append(told.Messages, r)
			told.Resources = append(told.Resources, raw[i])
		}
	}
}

// askDestination asks for a proxy in the namespace of -n.
func (a *app) askDestination(ctx context.Context, what string) (*explain.Told, error) {
	link, err := a.connectDestination(ctx)
	if err != nil {
		return nil, err
	}
	defer link.stop()
	query := url.Values{"namespace": {link.namespace}}
	setKey(query, what)
	told, err := link.ask(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("ask destination about %s: %w", what, err)
	}
	if told.Invalid != "" {
		return nil, fmt.Errorf("destination refuses the question: %s", told.Invalid)
	}
	return told, nil
}

func setKey(query url.Values, what string) {
	if _, err := netip.ParseAddrPort(what); err == nil {
		query.Set("address", what)
	} else {
		query.Set("authority", withPort(what))
	}
}

// destinationLink is a way to destination's questions.
type destinationLink struct {
	namespace string // that counts where the user says none
	get       func(context.Context, url.Values) ([]byte, error)
	stop      func()
}

func (l *destinationLink) ask(ctx context.Context, query url.Values) (*explain.Told, error) {
	text, err := l.get(ctx, query)
	if err != nil {
		return nil, err
	}
	return explain.Read(text)
}

// connectDestination finds destination: in the mesh of `meshctl dev up` in this folder, by its
// control socket, or by a port-forward to a pod's loopback, so that RBAC decides who may ask.
func (a *app) connectDestination(ctx context.Context) (*destinationLink, error) {
	ports, err := a.devMesh()
	if err != nil {
		return nil, err
	}
	if ports != nil {
		get := func(ctx context.Context, query url.Values) ([]byte, error) {
			return dev.Diagnose(ctx, dev.DefaultDir, query)
		}
		return &destinationLink{cmp.Or(*a.config.Namespace, ports.Namespace), get, func() {}}, nil
	}
	ns, err := a.namespace()
	if err != nil {
		return nil, err
	}
	addr, stop, err := a.forward(ctx, names.Destination, destinationQueryPort)
	if err != nil {
		return nil, fmt.Errorf("reach destination: %w", err)
	}
	get := func(ctx context.Context, query url.Values) ([]byte, error) {
		return getText(ctx, "http://"+addr+"/resources?"+query.Encode())
	}
	return &destinationLink{ns, get, stop}, nil
}

// withPort: a name without a port means HTTP's, as in a URL.
func withPort(name string) string {
	if _, _, err := net.SplitHostPort(name); err == nil {
		return name
	}
	return net.JoinHostPort(name, "80")
}

func getText(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return text, nil
}

func drawEndpoints(w io.Writer, told *explain.Told, wide bool) error {
	head := []string{"CLUSTER", "ENDPOINT", "ADDRESS", "IDENTITY", "HEALTH"}
	if wide {
		head = append(head, "MESH ADDRESS", "PROTOCOL", "WEIGHT", "ZONE", "WORKLOAD")
	}
	var rows [][]string
	for _, r := range told.Messages {
		in := map[string]bool{}
		for _, e := range r.GetEndpoints().GetEndpoints() {
			in[e.GetId()] = true
			row := []string{r.GetName(), e.GetId(), e.GetAddress(),
				cmp.Or(e.GetIdentity(), "(not meshed)"), healthOf(told, r.GetName(), e.GetId())}
			if wide {
				row = append(row, widely(e)...)
			}
			rows = append(rows, row)
		}
		for _, h := range told.Health {
			if h.Cluster == r.GetName() && !in[h.ID] {
				rows = append(rows, []string{h.Cluster, h.ID, "-", "-",
					"left out: " + healthOf(told, h.Cluster, h.ID)})
			}
		}
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no endpoints")
		return err
	}
	return printTable(w, head, rows)
}

// healthOf is what was found of an endpoint, in words.
func healthOf(told *explain.Told, cluster, id string) string {
	for _, h := range told.Health {
		switch {
		case h.Cluster != cluster || h.ID != id:
		case h.Reason != "":
			return h.State + " (" + h.Reason + ")"
		default:
			return h.State
		}
	}
	return "-" // nobody checks it, or has lately
}

// widely is what a wide table says of an endpoint beside the rest.
func widely(e *api.Endpoint) []string {
	workload := strings.Trim(e.GetWorkload().GetKind()+"/"+e.GetWorkload().GetName(), "/")
	return []string{cmp.Or(e.GetMeshAddress(), "-"),
		strings.TrimPrefix(e.GetProtocol().String(), "PROTOCOL_"),
		fmt.Sprint(max(1, e.GetWeight())), cmp.Or(e.GetLocality().GetZone(), "-"),
		cmp.Or(workload, "-")}
}
