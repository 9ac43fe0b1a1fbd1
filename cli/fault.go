package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
)

func newFaultCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Delay requests, or answer them with errors, on purpose and for a while",
		Long: "Delay requests to a Service, or answer them with errors, on purpose: " +
			"a FaultInjection that ends by itself.",
		Example: "  meshctl fault inject svc/web --abort 503 --percent 10 --for 5m\n" +
			"  meshctl fault list\n  meshctl fault clear svc/web",
	}
	cmd.AddCommand(newFaultInjectCommand(a), newFaultListCommand(a), newFaultClearCommand(a))
	return cmd
}

// faultFlags are what a user says of a fault.
type faultFlags struct {
	abort   int32
	delay   time.Duration
	percent float64
	lasts   time.Duration
	headers []string
	from    []string
}

func newFaultInjectCommand(a *app) *cobra.Command {
	var f faultFlags
	cmd := &cobra.Command{
		Use:   "inject svc/NAME",
		Short: "Delay or abort requests to a Service for a while",
		Long: `Delay a share of the requests to a Service, answer a share of them with an error, or
both. The callers' proxies do it; the Service is not asked for what is aborted. Every injected
error says so in tulle-error, in the access log and in tulle_faults_injected_total. It is over
after --for, even if nothing can be reached by then.`,
		Example: "  meshctl fault inject svc/web --abort 503 --percent 10 --for 5m\n" +
			"  meshctl fault inject svc/web --delay 2s --header x-test=1 -n shop\n" +
			"  meshctl fault inject svc/web --delay 300ms --from shop/cart --for 1h",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fault, err := f.fault(args[0], time.Now())
			if err != nil {
				return usagef(cmd, "%w", err)
			}
			return a.injectFault(cmd.Context(), fault)
		},
	}
	flags := cmd.Flags()
	flags.Int32Var(&f.abort, "abort", 0, "answer with this HTTP status, 400 to 599")
	flags.DurationVar(&f.delay, "delay", 0, "hold requests back for so long")
	flags.Float64Var(&f.percent, "percent", 100, "of the requests, to 0.0001")
	flags.DurationVar(&f.lasts, "for", 5*time.Minute, "how long until it ends by itself")
	flags.StringArrayVar(&f.headers, "header", nil,
		"only requests with this header, NAME=VALUE; several must all be there")
	flags.StringArrayVar(&f.from, "from", nil,
		"only requests of these callers, NAMESPACE or NAMESPACE/SERVICEACCOUNT")
	return cmd
}

// faultPrefix begins the names of what `fault inject` makes.
const faultPrefix = "meshctl-"

// fault is the object that the flags describe, named after its Service: another one replaces it.
func (f *faultFlags) fault(target string, now time.Time) (*crd.FaultInjection, error) {
	name, err := serviceOf(target)
	if err != nil {
		return nil, err
	}
	if f.lasts <= 0 || f.lasts > crd.MaxFault {
		return nil, fmt.Errorf("--for must be more than 0 and at most %s", crd.MaxFault)
	}
	out := &crd.FaultInjection{
		TypeMeta:   metav1.TypeMeta{APIVersion: crd.APIVersion, Kind: crd.FaultInjectionKind},
		ObjectMeta: metav1.ObjectMeta{Name: faultPrefix + name},
	}
	out.Spec.Until = metav1.NewTime(now.Add(f.lasts).Truncate(time.Second))
	out.Spec.TargetRefs = []crd.ServiceReference{{Kind: crd.TargetService, Name: name}}
	if f.delay != 0 {
		out.Spec.Delay = &crd.FaultDelay{Duration: f.delay.String(), Percent: &f.percent}
	}
	if f.abort != 0 {
		out.Spec.Abort = &crd.FaultAbort{Status: f.abort, Percent: &f.percent}
	}
	if err := f.narrow(&out.Spec); err != nil {
		return nil, err
	}
	return out, out.Validate().ToAggregate()
}

// narrow says which requests are meant.
func (f *faultFlags) narrow(spec *crd.FaultInjectionSpec) error {
	for _, text := range f.headers {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("--header %s must be NAME=VALUE", text)
		}
		if spec.Match == nil {
			spec.Match = &gatewayv1.HTTPRouteMatch{}
		}
		spec.Match.Headers = append(spec.Match.Headers, gatewayv1.HTTPHeaderMatch{
			Name: gatewayv1.HTTPHeaderName(name), Value: value,
		})
	}
	for _, text := range f.from {
		namespace, account, _ := strings.Cut(text, "/")
		spec.From = append(spec.From,
			crd.FaultCaller{Namespace: namespace, ServiceAccount: account})
	}
	return nil
}

// serviceOf takes svc/web or service/web.
func serviceOf(target string) (string, error) {
	kind, name, ok := strings.Cut(target, "/")
	if !ok || name == "" || !slices.Contains([]string{"svc", "service", "services"}, kind) {
		return "", fmt.Errorf("%q must be svc/NAME", target)
	}
	return name, nil
}

func (a *app) injectFault(ctx context.Context, fault *crd.FaultInjection) error {
	faults, ns, err := a.faults()
	if err != nil {
		return err
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(fault)
	if err != nil {
		return fmt.Errorf("write the FaultInjection: %w", err)
	}
	delete(object, "status")
	_, err = faults.Apply(ctx, fault.Name, &unstructured.Unstructured{Object: object},
		metav1.ApplyOptions{FieldManager: "meshctl", Force: true})
	if err != nil {
		return fmt.Errorf("apply FaultInjection %s/%s: %w", ns, fault.Name, err)
	}
	fmt.Fprintf(a.Out, "FaultInjection %s/%s ends at %s\n", ns, fault.Name,
		fault.Spec.Until.Format(time.RFC3339))
	fmt.Fprintf(a.ErrOut, "End it now: meshctl fault clear svc/%s -n %s\n",
		fault.Spec.TargetRefs[0].Name, ns)
	return nil
}

// faults is a client for the FaultInjections of a namespace.
func (a *app) faults() (dynamic.ResourceInterface, string, error) {
	ns, err := a.namespace()
	if err != nil {
		return nil, "", err
	}
	_, untyped, err := a.clients()
	if err != nil {
		return nil, "", err
	}
	return untyped.Resource(crd.FaultInjectionResource()).Namespace(ns), ns, nil
}

func newFaultListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the faults of a namespace",
		Long: "List the FaultInjections of a namespace: what they are about, what they do, " +
			"and when they end.",
		Example: "  meshctl fault list -n shop\n  meshctl fault list -n shop -o json",
		Args:    cobra.NoArgs,
	}
	out := addOutput(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		list, err := a.listFaults(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(a.Out, list, func(w io.Writer) error {
			return drawFaults(w, list, time.Now())
		})
	}
	return cmd
}

func (a *app) listFaults(ctx context.Context) ([]crd.FaultInjection, error) {
	faults, ns, err := a.faults()
	if err != nil {
		return nil, err
	}
	list, err := faults.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the FaultInjections of %s: %w", ns, err)
	}
	out := make([]crd.FaultInjection, len(list.Items))
	for i := range list.Items {
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &out[i])
		if err != nil {
			return nil, fmt.Errorf("read FaultInjection %s/%s: %w", ns, list.Items[i].GetName(),
				err)
		}
	}
	return out, nil
}

func drawFaults(w io.Writer, list []crd.FaultInjection, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no faults")
		return err
	}
	var rows [][]string
	for i := range list {
		f := &list[i]
		var targets []string
		for _, ref := range f.Spec.TargetRefs {
			targets = append(targets, "svc/"+ref.Name)
		}
		if targets == nil {
			targets = []string{"(routes)"} // which refer to it, or nothing
		}
		rows = append(rows, []string{f.Name, strings.Join(targets, ","),
			harmOf(&f.Spec), leftOf(f.Spec.Until.Time, now)})
	}
	return printTable(w, []string{"NAME", "TARGET", "FAULT", "ENDS IN"}, rows)
}

func harmOf(spec *crd.FaultInjectionSpec) string {
	var out []string
	if d := spec.Delay; d != nil {
		out = append(out, "delay "+d.Duration+shareOf(d.Percent))
	}
	if a := spec.Abort; a != nil {
		out = append(out, "abort "+strconv.Itoa(int(a.Status))+shareOf(a.Percent))
	}
	return strings.Join(out, ", ")
}

func shareOf(percent *float64) string {
	if percent == nil {
		return ""
	}
	return " of " + strconv.FormatFloat(*percent, 'f', -1, 64) + "%"
}

func leftOf(until, now time.Time) string {
	if left := until.Sub(now); left > 0 {
		return left.Round(time.Second).String()
	}
	return "over"
}

func newFaultClearCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "clear svc/NAME | NAME",
		Short: "End a fault now",
		Long: "Delete the FaultInjection that `fault inject` made for a Service, " +
			"or one by its name.",
		Example: "  meshctl fault clear svc/web -n shop\n  meshctl fault clear web-is-slow",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			faults, ns, err := a.faults()
			if err != nil {
				return err
			}
			name := args[0]
			if service, err := serviceOf(name); err == nil {
				name = faultPrefix + service
			}
			if err := faults.Delete(cmd.Context(), name, metav1.DeleteOptions{}); err != nil {
				return fmt.Errorf("delete FaultInjection %s/%s: %w", ns, name, err)
			}
			fmt.Fprintf(a.Out, "FaultInjection %s/%s is deleted\n", ns, name)
			return nil
		},
	}
}
