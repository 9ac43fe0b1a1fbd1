package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBody bounds an answer: 10,000 instances of a service with a kilobyte of tags, metadata and
	// output of checks each fit several times.
	maxBody = 64 << 20
	// maxRefusal bounds what is read of why there is no answer.
	maxRefusal = 256

	dialTimeout = 5 * time.Second
	// replyGrace is beyond the time that an answer may be waited for, for it to come in.
	replyGrace = 10 * time.Second
)

// client asks an agent of Consul, or one of its servers.
type client struct {
	base       *url.URL
	datacenter string // empty: the agent's own
	token      func() (string, error)
	http       *http.Client
}

func newClient(cfg Config) (*client, error) {
	base, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	return &client{base: base, datacenter: cfg.Datacenter, token: cfg.token,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
				TLSHandshakeTimeout: dialTimeout,
				TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
				MaxIdleConnsPerHost: maxQueries,
				ForceAttemptHTTP2:   true, // over TLS: queries share a connection
			},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		}}, nil
}

// parseAddress takes http://HOST:PORT, https://HOST:PORT, or the first without its scheme.
func parseAddress(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	base, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the address of Consul: %w", errors.Unwrap(err)) // without the text
	case base.Scheme != "http" && base.Scheme != "https", base.Hostname() == "",
		base.User != nil, base.RawQuery != "", base.Fragment != "":
		return nil, fmt.Errorf("the address of Consul, %q: must be such as "+
			"http://127.0.0.1:8500 or https://consul.example:8501", base.Redacted())
	}
	return base, nil
}

// readRoots is nil, the system's, without a file.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the roots to verify Consul with: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the roots to verify Consul with: %s holds no certificate",
			file)
	}
	return roots, nil
}

// reply is an answer.
type reply struct {
	index    uint64 // of the state that it is of; 0 where Consul did not say
	body     []byte
	filtered bool // the token may not read all that was asked for
}

// get asks for a path. With an index it is answered once there is something newer, or wait is over,
// to which Consul adds up to a sixteenth.
//
// Consul's default consistency is asked for, and not stale answers, which its servers could give
// without their leader: one that lags would bring back an instance that is gone.
func (c *client) get(
	ctx context.Context, path string, index uint64, wait time.Duration,
) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+replyGrace)
	defer cancel()
	req, err := c.request(ctx, path, index, wait)
	if err != nil {
		return reply{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return reply{}, refusal(resp)
	}
	return read(resp)
}

func (c *client) request(
	ctx context.Context, path string, index uint64, wait time.Duration,
) (*http.Request, error) {
	query := url.Values{}
	if c.datacenter != "" {
		query.Set("dc", c.datacenter)
	}
	if index > 0 {
		query.Set("index", strconv.FormatUint(index, 10))
		query.Set("wait", strconv.FormatInt(wait.Milliseconds(), 10)+"ms")
	}
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	return req, nil
}

// refusal says why there is no answer, in Consul's words. It never repeats the token.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what there is of a reason
	why := fmt.Errorf("it answers %s: %s", resp.Status, strings.TrimSpace(string(text)))
	switch resp.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		return fmt.Errorf("%w (the token needs to read all services and nodes)", why)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%w (raise the agent's limits.http_max_conns_per_client)", why)
	}
	return why
}

func read(resp *http.Response) (out reply, err error) {
	out.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return reply{}, fmt.Errorf("read the answer: %w", err)
	case len(out.body) > maxBody:
		return reply{}, fmt.Errorf("the answer has more than %d MiB", maxBody>>20)
	}
	out.index, _ = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	out.filtered = resp.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true"
	return out, nil
}
