package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// answer is one HTTP response.
type answer struct {
	Status  int             `json:"status"`
	Proto   string          `json:"proto"`
	Headers http.Header     `json:"headers"`
	Body    string          `json:"body"`
	Echo    json.RawMessage `json:"echo,omitempty"`
	Error   string          `json:"error,omitempty"`
	Took    float64         `json:"seconds"`
}

type headerFlags http.Header

func (h headerFlags) String() string { return "" }

func (h headerFlags) Set(v string) error {
	name, value, ok := strings.Cut(v, ":")
	if !ok {
		return fmt.Errorf("%q: want NAME:VALUE", v)
	}
	http.Header(h).Add(name, strings.TrimSpace(value))
	return nil
}

// call makes requests one after another and prints what each was answered.
func call(ctx context.Context, args []string) (any, error) {
	header := http.Header{}
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	n := flags.Int("n", 1, "how many requests")
	method := flags.String("method", http.MethodGet, "")
	body := flags.String("body", "", "")
	h2c := flags.Bool("h2c", false, "speak HTTP/2 without TLS")
	wait := flags.Duration("timeout", 15*time.Second, "")
	sni := flags.String("server-name", "", "over TLS ask for this name, and trust whoever answers")
	flags.Var(headerFlags(header), "header", "NAME:VALUE")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	by := transport(*h2c)
	if *sni != "" {
		by.TLSClientConfig = &tls.Config{ServerName: *sni, InsecureSkipVerify: true}
	}
	client := &http.Client{Timeout: *wait, Transport: by, CheckRedirect: asItIs}
	out := make([]answer, 0, *n)
	for range *n {
		req, err := http.NewRequestWithContext(ctx, *method, flags.Arg(0), strings.NewReader(*body))
		if err != nil {
			return nil, err
		}
		if *body == "" {
			req.Body, req.ContentLength = nil, 0
		}
		req.Header = header.Clone()
		out = append(out, do(client, req))
	}
	return out, nil
}

// asItIs has redirects printed, not followed.
func asItIs(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func transport(h2c bool) *http.Transport {
	t := &http.Transport{
		MaxIdleConnsPerHost: 1000, Protocols: new(http.Protocols), DisableCompression: true,
	}
	t.Protocols.SetHTTP1(!h2c)
	t.Protocols.SetUnencryptedHTTP2(h2c)
	return t
}

func do(client *http.Client, req *http.Request) answer {
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return answer{Error: err.Error(), Took: time.Since(start).Seconds()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{Status: resp.StatusCode, Proto: resp.Proto, Headers: resp.Header,
		Body: string(body), Took: time.Since(start).Seconds()}
	if err != nil {
		a.Error = "body: " + err.Error()
	}
	if json.Valid(body) {
		a.Echo, a.Body = body, ""
	}
	return a
}
