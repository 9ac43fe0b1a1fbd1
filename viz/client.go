package viz

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// maxAnswerBytes bounds what a client reads: 500 rows of top are half a megabyte.
const maxAnswerBytes = 64 << 20

// Client asks a viz at an address.
type Client struct {
	addr string
	http *http.Client
}

// NewClient makes a Client for the query API at host:port.
func NewClient(addr string) *Client {
	return &Client{addr: addr, http: &http.Client{Timeout: queryTimeout,
		Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 2}}}
}

// Addr is where it asks.
func (c *Client) Addr() string { return c.addr }

// Stat asks /api/stat.
func (c *Client) Stat(ctx context.Context, q Query) (*Stat, error) {
	return get[Stat](ctx, c, "stat", q.values())
}

// Edges asks /api/edges.
func (c *Client) Edges(ctx context.Context, q Query) (*Edges, error) {
	return get[Edges](ctx, c, "edges", q.values())
}

// Routes asks /api/routes.
func (c *Client) Routes(ctx context.Context, q Query) (*Routes, error) {
	return get[Routes](ctx, c, "routes", q.values())
}

// Backends asks /api/backends.
func (c *Client) Backends(ctx context.Context, q Query) (*Backends, error) {
	return get[Backends](ctx, c, "backends", q.values())
}

// Proxies asks /api/proxies.
func (c *Client) Proxies(ctx context.Context, q Query) (*Proxies, error) {
	return get[Proxies](ctx, c, "proxies", q.values())
}

// Endpoints asks /api/endpoints, about q's Resource and Namespace.
func (c *Client) Endpoints(ctx context.Context, q Query) (*Endpoints, error) {
	return get[Endpoints](ctx, c, "endpoints", q.values())
}

// Top asks /api/top.
func (c *Client) Top(ctx context.Context, q Query) (*Top, error) {
	return get[Top](ctx, c, "top", q.values())
}

// Graph asks /api/graph.
func (c *Client) Graph(ctx context.Context, q Query) (*Graph, error) {
	return get[Graph](ctx, c, "graph", q.values())
}

// Requests asks /api/requests.
func (c *Client) Requests(ctx context.Context, q RequestQuery) (*Requests, error) {
	return get[Requests](ctx, c, "requests", q.values())
}

// Traces asks /api/traces.
func (c *Client) Traces(ctx context.Context, q TraceQuery) (*Traces, error) {
	return get[Traces](ctx, c, "traces", q.values())
}

// Trace asks /api/traces/ID.
func (c *Client) Trace(ctx context.Context, id string) (*Trace, error) {
	return get[Trace](ctx, c, "traces/"+id, nil)
}

// Why asks /api/why, about the ID of a request or a trace.
func (c *Client) Why(ctx context.Context, id string) (*Why, error) {
	return get[Why](ctx, c, "why", url.Values{paramID: {id}})
}

// Propagation asks /api/propagation.
func (c *Client) Propagation(ctx context.Context) (*Propagation, error) {
	return get[Propagation](ctx, c, "propagation", nil)
}

// Objectives asks /api/slo.
func (c *Client) Objectives(ctx context.Context, q Query) (*Objectives, error) {
	return get[Objectives](ctx, c, "slo", q.values())
}

func get[T any](ctx context.Context, c *Client, what string, p url.Values) (*T, error) {
	where := url.URL{Scheme: "http", Host: c.addr, Path: "/api/" + what, RawQuery: p.Encode()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask viz for %s: %w", what, err)
	}
	response, err := c.http.Do(r)
	if err != nil {
		var request *url.Error
		if errors.As(err, &request) {
			err = request.Err // the URL says nothing that the user knows better
		}
		return nil, fmt.Errorf("ask viz for %s: %w", what, err)
	}
	defer response.Body.Close()
	body := json.NewDecoder(io.LimitReader(response.Body, maxAnswerBytes))
	if response.StatusCode != http.StatusOK {
		return nil, refusal(what, response.Status, body)
	}
	out := new(T)
	if err := body.Decode(out); err != nil {
		return nil, fmt.Errorf("read viz's answer for %s: %w", what, err)
	}
	return out, nil
}

func refusal(what, httpStatus string, body *json.Decoder) error {
	var f Failure
	if err := body.Decode(&f); err != nil || f.Error == "" {
		return fmt.Errorf("ask viz for %s: it answered %s: is this viz's address?", what,
			httpStatus)
	}
	if f.NeedsSession {
		return sessionError(f.Error)
	}
	return fmt.Errorf("viz refused the question for %s: %s", what, f.Error)
}

// sessionError is an ErrSession in viz's words.
type sessionError string

func (e sessionError) Error() string { return string(e) }

// Is makes it one.
func (e sessionError) Is(target error) bool { return target == ErrSession }

func (q Query) values() url.Values {
	p := url.Values{}
	for name, value := range map[string]string{
		paramResource: q.Resource, paramName: q.Name, paramNamespace: q.Namespace,
		paramFrom:          q.From,
		paramFromNamespace: q.FromNamespace,
		paramTo:            q.To, paramToNamespace: q.ToNamespace, paramRoute: q.Route,
		paramGroup: q.Group, paramFilter: q.Filter, paramOpen: q.Open,
	} {
		if value != "" {
			p.Set(name, value)
		}
	}
	if q.Most != 0 {
		p.Set(paramMost, strconv.Itoa(q.Most))
	}
	for name, value := range map[string]time.Duration{paramWindow: q.Window, paramAgo: q.Ago,
		paramStep: q.Step} {
		if value != 0 {
			p.Set(name, value.String())
		}
	}
	return p
}
