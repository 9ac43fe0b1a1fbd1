package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// control answers the other `meshctl dev` verbs, on a socket in the state folder: who may open the
// folder may ask.
type control struct {
	server *http.Server
	done   chan struct{}
}

// controls is what can be asked of a running mesh.
type controls struct {
	records func() []Record
	restart func(ctx context.Context, name string) error
	// diagnose answers what destination would tell a proxy: its Diagnostics.
	diagnose http.HandlerFunc
	page     func() string // the page's address, for one browser
	log      *slog.Logger
}

func serveControl(path string, c controls) (*control, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for 'meshctl dev': %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /records", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(c.records()); err != nil {
			c.log.Debug("a reader of the records went away", "err", err)
		}
	})
	mux.HandleFunc("GET /resources", c.diagnose)
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, c.page())
	})
	mux.HandleFunc("POST /restart/{name}", func(w http.ResponseWriter, r *http.Request) {
		if err := c.restart(r.Context(), r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	ctl := &control{server: &http.Server{Handler: mux, ReadHeaderTimeout: controlTimeout},
		done: make(chan struct{})}
	go func() {
		defer close(ctl.done)
		if err := ctl.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.log.Error("the control socket failed", "err", err)
		}
	}()
	return ctl, nil
}

func (c *control) close() {
	c.server.Close()
	<-c.done
}

// controlTimeout bounds one question: a restart waits for the old server's end.
const controlTimeout = 30 * time.Second

// ask sends one question to the mesh that runs in a state folder.
func ask(ctx context.Context, dir, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(dir, controlFile))
		}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://dev"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no mesh runs here: start one with 'meshctl dev up'")
	}
	if err != nil {
		return nil, fmt.Errorf("ask the running mesh: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the running mesh: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	return body, nil
}

// Records is what the relays of a running mesh saw; none without --record.
func Records(ctx context.Context, dir string) ([]Record, error) {
	body, err := ask(ctx, dir, http.MethodGet, "/records")
	if err != nil {
		return nil, err
	}
	var out []Record
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, fmt.Errorf("read the records: %w", err)
	}
	return out, nil
}

// Diagnose asks the running mesh's destination what it would tell a proxy: see
// destination.Diagnosis.
func Diagnose(ctx context.Context, dir string, query url.Values) ([]byte, error) {
	return ask(ctx, dir, http.MethodGet, "/resources?"+query.Encode())
}

// Restart ends a server of the running mesh's control plane, or an instance's process, and starts
// it again.
func Restart(ctx context.Context, dir, name string) error {
	_, err := ask(ctx, dir, http.MethodPost, "/restart/"+name)
	return err
}
