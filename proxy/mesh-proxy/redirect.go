package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/redirect"
)

// redirectPod installs the redirection in the network namespace it runs in, for as long as the
// namespace lives.
func redirectPod(args []string) int {
	flags := flag.NewFlagSet("mesh-proxy redirect", flag.ContinueOnError)
	uid := flags.Uint("proxy-uid", config.UID,
		"traffic of this uid is the proxy's own and is left alone")
	outbound := flags.Uint("outbound-port", config.OutboundPort,
		"where outgoing connections are redirected to")
	inbound := flags.Uint("inbound-port", config.InboundPort,
		"where incoming connections are redirected to")
	skipIn := flags.String("skip-inbound", "",
		"ports that are not redirected, such as 22,9000-9010")
	skipOut := flags.String("skip-outbound", "", "ports that are not redirected")
	dryRun := flags.Bool("dry-run", false, "print the rules instead")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	o := redirect.Options{ProxyUID: uint32(*uid), InboundPort: uint16(*inbound),
		OutboundPort: uint16(*outbound), AdminPort: config.AdminPort}
	for _, skip := range []struct {
		flag, value string
		into        *[]redirect.Ports
	}{{"--skip-inbound", *skipIn, &o.SkipInbound}, {"--skip-outbound", *skipOut, &o.SkipOutbound}} {
		ports, err := redirect.ParsePorts(skip.value)
		if err != nil {
			fmt.Fprintf(os.Stderr, "mesh-proxy redirect: %s: %v\n", skip.flag, err)
			return 2
		}
		*skip.into = ports
	}
	if err := applyRedirect(o, *dryRun); err != nil {
		fmt.Fprintf(os.Stderr, "mesh-proxy: %v\n", err)
		return 1
	}
	return 0
}

func applyRedirect(o redirect.Options, dryRun bool) error {
	families, err := redirect.Families()
	if err != nil {
		return err
	}
	script, err := redirect.Script(o, families...)
	if err != nil {
		return err
	}
	fmt.Print(script)
	if dryRun {
		return nil
	}
	return redirect.Apply(o, families...)
}
