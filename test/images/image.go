package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// spec is what an image is made of.
type spec struct {
	tag, user, arch string
	binary          string
	files           []string // FILE:PATH
}

// entry is one file or folder of the image's only layer.
type entry struct {
	path string // in the image, without the first slash
	from string // on this machine; "" for a folder
	mode int64
}

// write makes the archive and returns the image's digest.
func (s spec) write(out string) (string, error) {
	tag, err := name.NewTag(s.tag)
	if err != nil {
		return "", fmt.Errorf("tag %q: %w", s.tag, err)
	}
	image, err := s.image()
	if err != nil {
		return "", err
	}
	if err := tarball.WriteToFile(out, tag, image); err != nil {
		return "", fmt.Errorf("write %s: %w", out, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", fmt.Errorf("digest of %s: %w", s.tag, err)
	}
	return digest.String(), nil
}

func (s spec) image() (v1.Image, error) {
	text, err := s.layer()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	config.OS, config.Architecture = "linux", s.arch
	config.Config = v1.Config{
		Entrypoint: []string{"/" + filepath.Base(s.binary)}, WorkingDir: "/", User: s.user,
		Env: []string{"PATH=/:/bin:/usr/bin"},
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	return image, nil
}

// layer is a tar without times and owners, its entries sorted.
func (s spec) layer() ([]byte, error) {
	entries, err := s.entries()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := e.write(w); err != nil {
			return nil, fmt.Errorf("add %s: %w", cmp.Or(e.from, e.path), err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	return out.Bytes(), nil
}

func (s spec) entries() ([]entry, error) {
	entries := []entry{
		{path: "tmp/", mode: 0o1777}, {path: filepath.Base(s.binary), from: s.binary, mode: 0o755},
	}
	folders := map[string]bool{"tmp/": true}
	for _, file := range s.files {
		from, to, ok := strings.Cut(file, ":")
		if !ok || !path.IsAbs(to) {
			return nil, fmt.Errorf("%q: write FILE:/PATH", file)
		}
		to = path.Clean(to)[1:]
		for dir := path.Dir(to); dir != "."; dir = path.Dir(dir) {
			if !folders[dir+"/"] {
				folders[dir+"/"] = true
				entries = append(entries, entry{path: dir + "/", mode: 0o755})
			}
		}
		entries = append(entries, entry{path: to, from: from, mode: 0o644})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return entries, nil
}

func (e entry) write(w *tar.Writer) error {
	if e.from == "" {
		return w.WriteHeader(&tar.Header{
			Typeflag: tar.TypeDir, Name: e.path, Mode: e.mode, Format: tar.FormatUSTAR,
		})
	}
	text, err := os.ReadFile(e.from)
	if err != nil {
		return err
	}
	if info, err := os.Stat(e.from); err == nil && info.Mode()&0o111 != 0 {
		e.mode = 0o755
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: e.path, Mode: e.mode, Size: int64(len(text)),
		Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}
