package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestArchiveIsTheSameEveryTime(t *testing.T) {
	dir := t.TempDir()
	binary, site := filepath.Join(dir, "app"), filepath.Join(dir, "site")
	for file, mode := range map[string]os.FileMode{binary: 0o700, site: 0o600} {
		if err := os.WriteFile(file, []byte(file[len(dir):]), mode); err != nil {
			t.Fatal(err)
		}
	}
	s := spec{tag: "tulle/app:1", user: "65532:65532", arch: "amd64", binary: binary,
		files: []string{site + ":/srv/www/site.html"}}
	var archives [2][]byte
	for i := range archives {
		if err := os.Chtimes(binary, time.Unix(int64(i), 0), time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "out.tar")
		if _, err := s.write(out); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = text
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same files differ")
	}
	checkArchive(t, filepath.Join(dir, "out.tar"))
}

func checkArchive(t *testing.T, archive string) {
	t.Helper()
	tag, err := name.NewTag("tulle/app:1")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.Entrypoint[0] != "/app" || config.Config.User != "65532:65532" ||
		config.OS != "linux" {
		t.Errorf("config: %+v", config)
	}
	want := map[string]int64{
		"tmp/": 0o1777, "app": 0o755, "srv/": 0o755, "srv/www/": 0o755, "srv/www/site.html": 0o644,
	}
	layers := mutate.Extract(image)
	defer layers.Close()
	for r := tar.NewReader(layers); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Typeflag == tar.TypeDir && name[len(name)-1] != '/' {
			name += "/"
		}
		if mode, ok := want[name]; !ok || mode != h.Mode {
			t.Errorf("%s has mode %o, want %o (%v)", name, h.Mode, mode, ok)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestBadArguments(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.tar")
	for name, s := range map[string]spec{
		"bad tag":     {tag: "Not A Tag", binary: "/bin/true"},
		"no binary":   {tag: "a:1", binary: "missing"},
		"bad mapping": {tag: "a:1", binary: os.Args[0], files: []string{"x"}},
	} {
		if _, err := s.write(out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
