package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// proxyProgram is the data plane's binary.
const proxyProgram = "mesh-proxy"

// findProgram looks beside this binary first, so that a build uses its own parts, then in PATH. A
// path with a slash starts at dir.
func findProgram(name, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return exec.LookPath(name)
	}
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		return "", fmt.Errorf("%s: write ./%s for a program in mesh.yaml's folder", name, name)
	}
	if err != nil {
		return "", fmt.Errorf("%s is neither beside meshctl nor in PATH", name)
	}
	return path, nil
}

// versionTimeout is generous: the program only prints.
const versionTimeout = 10 * time.Second

// findProxy is the mesh-proxy to use, or the one that was named; it must be of this version.
func findProxy(ctx context.Context, named, version string) (string, error) {
	path := named
	if path == "" {
		found, err := findProgram(proxyProgram, "")
		if err != nil {
			return "", fmt.Errorf("%w: build it with 'make build', or name it with --proxy", err)
		}
		path = found
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	if got := strings.TrimSpace(string(out)); got != version {
		return "", fmt.Errorf("%s has version %q and this meshctl %q: build both with 'make build'",
			path, got, version)
	}
	return path, nil
}
