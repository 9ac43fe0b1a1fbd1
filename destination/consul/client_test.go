package consul

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:8500":              "http://127.0.0.1:8500",
		"consul:8500":                 "http://consul:8500",
		"https://consul.example:8501": "https://consul.example:8501",
		"http://[::1]:8500/prefix":    "http://[::1]:8500/prefix",
		"unix:///run/consul":          "",
		"http://":                     "",
		"":                            "",
		"http://user:secret@consul":   "",
		"http://consul?token=secret":  "",
		"http://consul:8500:1":        "",
	} {
		base, err := parseAddress(text)
		switch {
		case err != nil && want == "":
			if strings.Contains(err.Error(), "user:secret") {
				t.Errorf("%q: the error has the password: %v", text, err)
			}
		case err != nil || base.String() != want:
			t.Errorf("%q is %v, %v; want %q", text, base, err, want)
		}
	}
}

// Consul's certificate is verified, with the roots of a file where there is one. Over TLS queries
// share a connection.
func TestTLS(t *testing.T) {
	protocol := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			protocol <- r.Proto + " " + r.URL.RequestURI()
			reply200(w, 7, map[string][]string{"web": {}})
		}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for ca, want := range map[string]string{file: "", "": "certificate"} {
		s, err := New(Config{Address: server.URL, CAFile: ca, Datacenter: "dc2",
			Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.client.get(t.Context(), "/v1/catalog/services", 7, time.Second)
		switch {
		case want != "":
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("without its root: %v", err)
			}
		case err != nil || r.index != 7 || !strings.Contains(string(r.body), "web"):
			t.Errorf("answered %q with %d, %v", r.body, r.index, err)
		default:
			got := <-protocol
			if got != "HTTP/2.0 /v1/catalog/services?dc=dc2&index=7&wait=1000ms" {
				t.Errorf("asked by %s", got)
			}
		}
		s.client.http.CloseIdleConnections()
	}
}

// What cannot be is said before anything is asked.
func TestConfigIsChecked(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(none+".crt", []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Address: "ftp://consul"}, "must be such as http://127.0.0.1:8500"},
		{Config{Address: "consul:8500", CAFile: none}, "no such file"},
		{Config{Address: "consul:8500", CAFile: none + ".crt"}, "holds no certificate"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}
