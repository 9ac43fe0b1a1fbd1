package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ways are requests of the demo's, and what must be said of them.
var ways = []struct {
	args   []string
	status int
	says   []string
}{
	{[]string{"deploy/web", "svc/checkout", "GET", "/slow"}, 0, []string{
		"as pod web-0", "300ms for the request",
		"ServiceProfile shop/checkout.shop.svc.cluster.local, spec.routes[slow].timeout",
		"must prove spiffe://cluster.local/ns/shop/sa/checkout", "It goes through."}},
	{[]string{"deploy/web", "svc/checkout", "GET", "/search"}, 0, []string{
		"RateLimitPolicy shop/search, spec.limits[name=search]"}},
	{[]string{"deploy/web", "svc/checkout", "GET", "/coupon"}, 3, []string{
		"by FaultInjection shop/coupon", "20 % do not go through: fault_injected (503)"}},
	{[]string{"deploy/checkout", "svc/payments", "POST", "/pay"}, 0, []string{
		"by HTTPRoute shop/payments, spec.rules[name=pay]",
		"90 % of it go to payments-v1", "10 % of it go to payments-v2"}},
	{[]string{"deploy/checkout", "svc/payments", "GET", "/refunds"}, 3, []string{
		"It does not go through: no_route (404), at backend."}},
	{[]string{"deploy/checkout", "svc/delivery"}, 0, []string{
		"by BackendTrafficPolicy shop/delivery, spec.loadBalancer",
		"by BackendTrafficPolicy shop/delivery, spec.outlierDetection"}},
	{[]string{"deploy/legacy", "svc/checkout"}, 0, []string{"the caller has no proxy"}},
	{[]string{"pod/web-0", "svc/chekout"}, 3, []string{"no_route (503), at discovery."}},
}

// What becomes of a request is said before anybody makes it, by what decides it; and all that a
// proxy knows is collected.
func checkExplain(ctx context.Context, d *demo) error {
	for _, w := range ways {
		text, status, err := d.said(ctx, append([]string{"explain"}, w.args...)...)
		if err != nil {
			return err
		}
		d.expect(status == w.status, "explain %v ends with %d", w.args, status)
		for _, want := range w.says {
			if strings.Contains(text, want) {
				d.ok("explain %v says %q", w.args, want)
			} else {
				d.fail("explain %v does not say %q:\n%s", w.args, want, text)
			}
		}
	}
	text, _, err := d.said(ctx, "viz", "proxies")
	if err != nil {
		return err
	}
	d.expect(strings.Contains(text, "REVISION") && !strings.Contains(text, "STALE"),
		"viz proxies says\n%s", text)
	folder, err := os.MkdirTemp("", "demo-dump")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "web.tar.gz")
	text, status, err := d.said(ctx, "debug", "dump", "deploy/web", "-o", file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	d.expect(status == 0 && err == nil && info.Size() > 1<<10, "debug dump ends with %d: %v\n%s",
		status, err, text)
	text, status, err = d.said(ctx, "debug", "log-level", "deploy/web", "debug", "--for", "1s")
	if err != nil {
		return err
	}
	d.expect(status == 0 && strings.Contains(text, "web-0: debug for 1s, then info"),
		"debug log-level ends with %d: %s", status, text)
	return nil
}

// said is what meshctl says on its standard output, and how it ends.
func (d *demo) said(ctx context.Context, args ...string) (text string, status int, err error) {
	var out, complaint bytes.Buffer
	cmd := d.meshctl(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		return out.String() + complaint.String(), exit.ExitCode(), nil
	} else if err != nil {
		return "", 0, err
	}
	return out.String(), 0, nil
}
