package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// result is how the requests of a load ended: exactly one of OK and Failed counts each.
type result struct {
	Sent   int            `json:"sent"`
	OK     int            `json:"ok"`
	Failed int            `json:"failed"`
	Errors map[string]int `json:"errors"` // by what went wrong
	Seen   []seen         `json:"seen,omitempty"`
}

// seen is the version that one answer named, and when its request began.
type seen struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
}

// maxErrors bounds how many different ones are told.
const maxErrors = 20

// load sends at a rate, whatever the answers do, until its standard input ends, then waits for all
// answers.
func load(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	rate := flags.Int("rate", 500, "requests per second")
	wait := flags.Duration("timeout", 15*time.Second, "for one request")
	version := flags.String("version", "", "the header of answers whose values are to be told")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	g := generator{rate: *rate, timeout: *wait, result: result{Errors: map[string]int{}}}
	if *version != "" {
		g.see = func(at time.Time, h http.Header) { g.saw(at, h.Get(*version)) }
	}
	var err error
	if g.send, err = g.sender(flags.Arg(0)); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer stop()
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the signal, whatever it says
	}()
	g.run(ctx)
	return g.result, nil
}

// sender makes the i-th request to http://... or grpc://HOST:PORT.
func (g *generator) sender(url string) (func(ctx context.Context, i int) error, error) {
	if addr, ok := strings.CutPrefix(url, "grpc://"); ok {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		client := testgrpc.NewTestServiceClient(conn)
		return func(ctx context.Context, _ int) error {
			_, err := client.EmptyCall(ctx, &testgrpc.Empty{})
			return err
		}, nil
	}
	client := &http.Client{Transport: transport(false)}
	return func(ctx context.Context, i int) error { return g.sendHTTP(ctx, client, url, i) }, nil
}

// sendHTTP sends a GET and a POST in turn: of the second the client itself repeats none.
func (g *generator) sendHTTP(
	ctx context.Context, client *http.Client, url string, i int,
) error {
	method, body := http.MethodGet, ""
	if i%2 == 1 {
		method, body = http.MethodPost, "a body"
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	at := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if g.see != nil {
		g.see(at, resp.Header)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s %s", method, resp.Status, resp.Header.Get("tulle-error"))
	}
	return nil
}

type generator struct {
	send    func(context.Context, int) error
	see     func(began time.Time, answer http.Header) // nil: nobody asks
	rate    int
	timeout time.Duration

	mu     sync.Mutex
	result result
}

// run catches up when it was held back: how many requests are sent depends on the time alone.
func (g *generator) run(ctx context.Context) {
	var answers sync.WaitGroup
	start, tick := time.Now(), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		due := int(time.Since(start).Seconds() * float64(g.rate))
		for ; g.result.Sent < due; g.result.Sent++ {
			i := g.result.Sent
			answers.Go(func() { g.one(context.WithoutCancel(ctx), i) })
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	answers.Wait()
}

func (g *generator) saw(at time.Time, version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.result.Seen = append(g.result.Seen, seen{at, version})
}

func (g *generator) one(ctx context.Context, i int) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	err := g.send(ctx, i)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.result.OK++
		return
	}
	g.result.Failed++
	what := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		what = "no answer in " + g.timeout.String()
	}
	if len(g.result.Errors) < maxErrors || g.result.Errors[what] > 0 {
		g.result.Errors[what]++
	}
}
