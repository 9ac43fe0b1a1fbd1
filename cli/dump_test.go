package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tulle-mesh/tulle/destination/api"
)

// adminOf is the admin port of a proxy that has these pages.
func adminOf(t *testing.T, pages map[string]string) proxyAdmin {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, known := pages[r.Method+" "+r.URL.Path]
		if !known {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return proxyAdmin{namespace: "shop", pod: "web-1",
		open: func(context.Context) (string, func(), error) {
			return strings.TrimPrefix(s.URL, "http://"), func() {}, nil
		}}
}

// An archive has a proxy's pages, its config as text, and says what could not be had.
func TestADumpIsWhole(t *testing.T) {
	held, err := proto.Marshal(&api.Resources{Resources: []*api.Resource{{
		Kind: api.Kind_KIND_CLUSTER, Name: "c", Version: "v"}}})
	if err != nil {
		t.Fatal(err)
	}
	p := adminOf(t, map[string]string{"GET /debug/proxy": "{}\n", "GET /ready": "ready\n",
		"GET /metrics": "m 1\n", "GET /debug/config": string(held)})
	var archive bytes.Buffer
	d := &dumper{tar: tar.NewWriter(&archive)}
	if err := errors.Join(d.collect(t.Context(), &p, dumpPages), d.end()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for r := tar.NewReader(&archive); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		got[head.Name] = string(text)
	}
	for name, want := range map[string]string{"shop_web-1/proxy.json": "{}\n",
		"shop_web-1/ready.txt": "ready\n", "shop_web-1/metrics.txt": "m 1\n",
		"shop_web-1/config.json": `"KIND_CLUSTER"`, "errors.txt": "shop_web-1/trace.out: "} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 5 {
		t.Errorf("the archive has %v", got)
	}
}

// What is there is not overwritten, and what cannot be finished is not left.
func TestADumpIsWrittenWholeOrNotAtAll(t *testing.T) {
	t.Chdir(t.TempDir())
	file := filepath.Join(t.TempDir(), "dump.tar.gz")
	a := &app{IOStreams: genericiooptions.NewTestIOStreamsDiscard()}
	none := func(*dumper) error { return nil }
	if err := a.writeDump(t.Context(), file, func(d *dumper) error {
		return errors.Join(d.add("a", nil), errors.New("no"))
	}); err == nil {
		t.Error("it was written")
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part is left: %v", err)
	}
	if err := a.writeDump(t.Context(), file, none); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := gzip.NewReader(f); err != nil {
		t.Error(err)
	}
	if err := a.writeDump(t.Context(), file, none); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over: %v", err)
	}
}

// A proxy is told a level and for how long.
func TestALevelIsSetForAWhile(t *testing.T) {
	p := adminOf(t, map[string]string{"PUT /log-level": "debug for 5m0s, then info\n"})
	said, err := p.setLevel(t.Context(), "debug", 5*60*1e9)
	if err != nil || said != "debug for 5m0s, then info" {
		t.Errorf("%q %v", said, err)
	}
	old := adminOf(t, nil)
	if _, err := old.setLevel(t.Context(), "debug", 0); err == nil ||
		!strings.Contains(err.Error(), "older than this meshctl") {
		t.Errorf("%v", err)
	}
}
