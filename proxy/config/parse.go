package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config is all that a proxy is told. It does not change once Parse has made it.
type Config struct {
	Identity    string // SPIFFE ID
	IdentityAPI Service
	Destination Service
	Viz         Service // Addr "": nothing is reported

	TokenFile string
	TokenFD   int // 0: none
	TrustFile string
	Pod       string

	PodIPs          []netip.Addr
	NodeIPs         []netip.Addr
	ClusterNetworks []netip.Prefix
	TrustedProxies  []netip.Prefix // empty: whoever calls is believed

	OutboundListen string
	Upstreams      []Upstream // explicit mode, instead of OutboundListen
	InboundListen  string
	// Apps, in explicit mode, has the application's address by target port; nil with redirection.
	Apps        map[uint16]string
	AdminListen string

	Strict      bool
	OpaquePorts map[uint16]bool
	Probes      map[uint16][]string // by target port, the paths at which the kubelet asks
	TLSProbes   map[uint16]bool     // the target ports at which it asks over TLS
	LogLevel    slog.Level
	DrainGrace  time.Duration

	Limits Limits
}

// Service is a control-plane server: where it is, and the one ID it may have.
type Service struct {
	Addr string
	ID   string
}

// Upstream is a listener for one destination.
type Upstream struct {
	Listen    string
	Authority string
}

// Parse reads the environment through get. Everything wrong is reported at once, by variable.
func Parse(get func(string) string) (Config, error) {
	p := &parser{get: get}
	outbound := net.JoinHostPort("127.0.0.1", strconv.Itoa(OutboundPort))
	c := Config{
		Identity:        p.required(EnvIdentity),
		IdentityAPI:     p.service(EnvIdentityAddr, EnvIdentityID),
		Destination:     p.service(EnvDestinationAddr, EnvDestinationID),
		TokenFile:       get(EnvTokenFile),
		TokenFD:         p.number(EnvTokenFD),
		TrustFile:       p.required(EnvTrustFile),
		Pod:             get(EnvPod),
		PodIPs:          list(p, EnvPodIPs, netip.ParseAddr),
		NodeIPs:         list(p, EnvNodeIP, netip.ParseAddr),
		ClusterNetworks: list(p, EnvClusterNetworks, netip.ParsePrefix),
		TrustedProxies:  list(p, EnvTrustedProxies, netip.ParsePrefix),
		OutboundListen:  p.address(EnvOutboundListen, outbound),
		Upstreams:       list(p, EnvOutboundUpstreams, parseUpstream),
		InboundListen:   p.address(EnvInboundListen, ":"+strconv.Itoa(InboundPort)),
		Apps:            p.apps(),
		AdminListen:     p.address(EnvAdminListen, ":"+strconv.Itoa(AdminPort)),
		Strict:          p.choice(EnvMode, "permissive", "strict") == "strict",
		OpaquePorts:     p.opaquePorts(),
		LogLevel:        p.level(),
		DrainGrace:      p.duration(EnvDrainGrace, DrainGrace),
		Limits:          DefaultLimits(),
	}
	c.Probes, c.TLSProbes = p.probes()
	if get(EnvVizAddr) != "" {
		c.Viz = p.service(EnvVizAddr, EnvVizID)
	}
	if (c.TokenFile == "") == (c.TokenFD == 0) {
		p.fail(EnvTokenFile, errors.New("set exactly one of it and "+EnvTokenFD))
	}
	if (len(c.Upstreams) > 0 || c.Apps != nil) && get(EnvOutboundListen) == "" {
		// In explicit mode nothing is redirected, and several proxies may share a host.
		c.OutboundListen = ""
	}
	p.loopback(c.OutboundListen)
	return c, errors.Join(p.errs...)
}

// parser reads variables and collects what is wrong with them.
type parser struct {
	get  func(string) string
	errs []error
}

func (p *parser) fail(name string, err error) {
	p.errs = append(p.errs, fmt.Errorf("%s=%q: %w", name, p.get(name), err))
}

func (p *parser) required(name string) string {
	v := p.get(name)
	if v == "" {
		p.errs = append(p.errs, fmt.Errorf("%s is not set", name))
	}
	return v
}

func (p *parser) service(addr, id string) Service {
	s := Service{p.required(addr), p.required(id)}
	if s.Addr != "" {
		if err := checkAddress(s.Addr); err != nil {
			p.fail(addr, err)
		}
	}
	return s
}

func (p *parser) address(name, standard string) string {
	v := p.get(name)
	if v == "" {
		return standard
	}
	if err := checkAddress(v); err != nil {
		p.fail(name, err)
	}
	return v
}

func checkAddress(v string) error {
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("want host:port: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("want host:port, with a port from 0 to 65535")
	}
	return nil
}

// loopback refuses an outbound listener that another pod can reach: that pod could borrow this
// one's identity.
func (p *parser) loopback(listen string) {
	if listen == "" {
		return
	}
	host, _, _ := net.SplitHostPort(listen)
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		p.fail(EnvOutboundListen, errors.New(
			"must be a loopback address: whoever connects to it acts as this workload"))
	}
}

func (p *parser) number(name string) int {
	v := p.get(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		p.fail(name, errors.New("want a positive number"))
	}
	return int(n)
}

func (p *parser) duration(name string, standard time.Duration) time.Duration {
	v := p.get(name)
	if v == "" {
		return standard
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		p.fail(name, errors.New(`want a duration such as "30s"`))
	}
	return d
}

func (p *parser) choice(name string, choices ...string) string {
	v := p.get(name)
	for _, c := range choices {
		if v == c {
			return v
		}
	}
	if v != "" {
		p.fail(name, fmt.Errorf("want one of %s", strings.Join(choices, ", ")))
	}
	return choices[0]
}

func (p *parser) level() (l slog.Level) {
	name := p.choice(EnvLogLevel, "info", "debug", "warn", "error")
	if err := l.UnmarshalText([]byte(name)); err != nil {
		p.fail(EnvLogLevel, err)
	}
	return l
}

func (p *parser) opaquePorts() map[uint16]bool {
	ports := map[uint16]bool{}
	switch p.get(EnvOpaquePorts) {
	case "-":
	case "":
		for _, n := range DefaultOpaquePorts {
			ports[n] = true
		}
	default:
		for _, n := range list(p, EnvOpaquePorts, parsePort) {
			ports[n] = true
		}
	}
	return ports
}

// probes reads paths by port. They are separated by spaces, which no path has, and not by commas,
// which a path may have.
func (p *parser) probes() (paths map[uint16][]string, tls map[uint16]bool) {
	paths, tls = map[uint16][]string{}, map[uint16]bool{}
	for _, s := range strings.Fields(p.get(EnvProbes)) {
		number, path, ok := strings.Cut(s, "/")
		number, secure := strings.CutSuffix(number, ProbedOverTLS)
		port, err := parsePort(number)
		switch {
		case err != nil || ok == secure:
			p.fail(EnvProbes, fmt.Errorf("%q: want PORT/PATH or PORT%s, 8080/ready", s,
				ProbedOverTLS))
		case secure:
			tls[port] = true
		default:
			paths[port] = append(paths[port], "/"+path)
		}
	}
	return paths, tls
}

// ProbedOverTLS follows a port in EnvProbes whose probe is inside the application's own TLS.
const ProbedOverTLS = ":tls"

func (p *parser) apps() map[uint16]string {
	type app struct {
		port uint16
		addr string
	}
	parse := func(s string) (a app, err error) {
		port, addr, _ := strings.Cut(s, "=")
		if a.port, err = parsePort(port); err != nil {
			return a, err
		}
		a.addr = addr
		return a, checkAddress(addr)
	}
	all := list(p, EnvInboundApps, parse)
	if all == nil {
		return nil
	}
	m := make(map[uint16]string, len(all))
	for _, a := range all {
		m[a.port] = a.addr
	}
	return m
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return uint16(n), nil
}

func parseUpstream(s string) (Upstream, error) {
	listen, authority, ok := strings.Cut(s, "=")
	if !ok {
		const want = "want LISTEN=AUTHORITY, 127.0.0.1:9001=web.shop.svc.cluster.local:80"
		return Upstream{}, fmt.Errorf("%q: %s", s, want)
	}
	if err := checkAddress(listen); err != nil {
		return Upstream{}, fmt.Errorf("%q: %w", listen, err)
	}
	if err := checkAddress(authority); err != nil {
		return Upstream{}, fmt.Errorf("%q: %w", authority, err)
	}
	return Upstream{listen, authority}, nil
}

// list parses a comma-separated variable. It returns nil if that is empty.
func list[T any](p *parser, name string, parse func(string) (T, error)) []T {
	var out []T
	for s := range strings.SplitSeq(p.get(name), ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		v, err := parse(s)
		if err != nil {
			p.fail(name, err)
			continue
		}
		out = append(out, v)
	}
	return out
}
