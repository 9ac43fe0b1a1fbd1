package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Handler answers GET /counts and POST /run.
func (g *Generator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts",
		func(w http.ResponseWriter, _ *http.Request) { g.write(w, g.Total()) })
	mux.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
		dec.DisallowUnknownFields()
		var run Run
		if err := dec.Decode(&run); err != nil {
			http.Error(w, "read the run: "+err.Error(), http.StatusBadRequest)
			return
		}
		counts, err := g.Run(r.Context(), run)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		g.write(w, counts)
	})
	return mux
}

func (g *Generator) write(w http.ResponseWriter, c Counts) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(c); err != nil {
		g.log.Debug("whoever asked went away", "err", err)
	}
}

// Client asks a Generator in another process.
type Client struct {
	URL string
}

// Run has the generator send a run, and waits for its counts.
func (c Client) Run(ctx context.Context, r Run) (Counts, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Counts{}, fmt.Errorf("send %s: %w", r.Path, err)
	}
	return c.ask(ctx, http.MethodPost, "/run", body)
}

// Total is everything the generator has sent.
func (c Client) Total(ctx context.Context) (Counts, error) {
	return c.ask(ctx, http.MethodGet, "/counts", nil)
}

func (c Client) ask(ctx context.Context, method, path string, body []byte) (Counts, error) {
	var counts Counts
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return counts, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return counts, fmt.Errorf("ask the load generator: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return counts, fmt.Errorf("ask the load generator: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return counts, fmt.Errorf("the load generator: %s", bytes.TrimSpace(text))
	}
	if err := json.Unmarshal(text, &counts); err != nil {
		return counts, fmt.Errorf("read the load generator's counts: %w", err)
	}
	return counts, nil
}
