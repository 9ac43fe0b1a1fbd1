package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/destination/registry"
)

const (
	// ownerName is what the registry knows the catalog's objects by.
	ownerName = "consul"

	// Namespace is the one in which services are where nobody chooses another.
	Namespace = "consul"
	// EnvToken has the token in the environment, as Consul's own tools do.
	EnvToken = "CONSUL_HTTP_TOKEN"
)

// Config says where Consul is, and what its services are here.
type Config struct {
	Address    string // of an agent, or a server: http://HOST:PORT or https://HOST:PORT
	TokenFile  string // read for each question, so that the token may be replaced; or
	Token      string // itself; empty for none
	CAFile     string // with the roots to verify Consul with; empty for the system's
	Datacenter string // empty for the agent's own

	Namespace   string // in which its services are
	TrustDomain spiffeid.TrustDomain
	Loopback    bool // instances may be on loopback: a mesh on one machine
	Log         *slog.Logger
}

// token is what Consul is asked with now.
func (c *Config) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token for Consul: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", errors.New("the token for Consul must be the one line of " + c.TokenFile)
	}
	return token, nil
}

// Source fills a registry from a Consul catalog.
type Source struct {
	cfg     Config
	client  *client
	mapping mapping
	queries chan struct{} // a token for each that is open
	state   *state

	owner    *registry.Owner
	services map[string]*service // that are followed; the catalog's goroutine owns it
	skipped  string              // as it was logged last
	filtered sync.Once
}

// New prepares a source. Nothing is asked before Run.
func New(cfg Config) (*Source, error) {
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Source{
		cfg: cfg, client: c, queries: make(chan struct{}, maxQueries),
		mapping: mapping{namespace: cfg.Namespace, datacenter: cfg.Datacenter,
			trustDomain: cfg.TrustDomain, loopback: cfg.Loopback},
		state: newState(cfg.Log), services: map[string]*service{},
	}, nil
}

// Run follows the catalog until the context ends. What the registry has stays then.
func (s *Source) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	s.owner = reg.Owner(ownerName)
	catalog := question{what: "the catalog", watch: catalogWatch, path: "/v1/catalog/services"}
	catalog.take = func(r reply) error {
		names, err := decodeServices(r.body)
		if err != nil {
			return err
		}
		s.checkRights(r)
		s.retain(ctx, names)
		s.state.took(&catalog)
		return nil
	}
	s.state.begin(&catalog, synced)
	s.follow(ctx, &catalog)
	for _, v := range s.services {
		<-v.done
	}
	s.client.http.CloseIdleConnections()
	return nil
}

// Missing is what has not been read yet.
func (s *Source) Missing() error { return s.state.missing() }

// Watches say how reading the catalog goes, and the health of its services.
func (s *Source) Watches() []registry.Watch { return s.state.watches() }

// retain follows the services of these names, and no others any longer.
func (s *Source) retain(ctx context.Context, names []string) {
	wanted := s.choose(names)
	for name, v := range s.services {
		if !wanted[name] {
			v.end()
			delete(s.services, name)
		}
	}
	for name := range wanted {
		if s.services[name] != nil {
			continue
		}
		v := s.newService(name)
		s.services[name] = v
		s.state.add(&v.question)
		own, stop := context.WithCancel(ctx)
		v.stop = stop
		go v.run(own)
	}
}

// choose leaves out the names that no DNS name can have, and those beyond the bound: of these, new
// ones.
func (s *Source) choose(names []string) map[string]bool {
	slices.SortFunc(names, func(a, b string) int {
		if (s.services[a] != nil) != (s.services[b] != nil) {
			if s.services[a] != nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	wanted := map[string]bool{}
	var skipped []string
	for _, name := range names {
		if !isLabel(name) || len(wanted) == maxServices {
			skipped = append(skipped, name)
			continue
		}
		wanted[name] = true
	}
	s.reportSkipped(skipped)
	return wanted
}

// maxNamed bounds the services that are named in a line of the log.
const maxNamed = 5

func (s *Source) reportSkipped(names []string) {
	text := strings.Join(names, " ")
	if text != s.skipped && text != "" {
		s.cfg.Log.Warn("services of Consul are left out: their names are no DNS labels in lower "+
			"case, or there are too many", "count", len(names), "most", maxServices,
			"first", names[:min(len(names), maxNamed)])
	}
	s.skipped = text
}

// checkRights says once that the token may not read everything.
func (s *Source) checkRights(r reply) {
	if r.filtered {
		s.filtered.Do(func() {
			s.cfg.Log.Warn("the token for Consul may not read all of its catalog: what it may " +
				"not read is not known to the mesh")
		})
	}
}
