package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// target is a fuzz function, and the test binary of its package.
type target struct {
	name   string
	folder string // of the package, as one at the module's root would name it
	dir    string
	binary string
	cache  string // where Go keeps what a run found interesting, by target
}

// pkg is a package as `go list` describes it.
type pkg struct {
	ImportPath   string
	Dir          string
	TestGoFiles  []string
	XTestGoFiles []string
}

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(\w+ \*testing\.F\)`)

// find lists the targets that the pattern matches, and builds their packages' test binaries in the
// folder bin.
func find(ctx context.Context, bin string, pattern *regexp.Regexp) ([]*target, error) {
	list, err := goTool(ctx, "list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles", "./...")
	if err != nil {
		return nil, err
	}
	cache, err := goTool(ctx, "env", "GOCACHE")
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(strings.TrimSpace(cache), "fuzz")
	var all []*target
	for d := json.NewDecoder(strings.NewReader(list)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		found, err := p.targets(pattern)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		binary := filepath.Join(bin, strings.ReplaceAll(p.ImportPath, "/", "."))
		if err := build(ctx, p.Dir, binary); err != nil {
			return nil, err
		}
		for _, t := range found {
			t.binary, t.cache = binary, filepath.Join(cache, p.ImportPath)
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return nil, errors.New("no fuzz target")
	}
	return all, nil
}

func (p *pkg) targets(pattern *regexp.Regexp) (found []*target, err error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	folder, err := filepath.Rel(root, p.Dir)
	if err != nil {
		return nil, err
	}
	for _, file := range append(p.TestGoFiles, p.XTestGoFiles...) {
		text, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			return nil, err
		}
		for _, m := range fuzzFunc.FindAllStringSubmatch(string(text), -1) {
			if pattern.MatchString(folder + "/" + m[1]) {
				found = append(found, &target{name: m[1], folder: folder, dir: p.Dir})
			}
		}
	}
	return found, nil
}

// build makes the test binary of the package in dir. With -fuzz it counts what it covers, without
// which fuzzing is blind.
func build(ctx context.Context, dir, binary string) error {
	_, err := goTool(ctx, "-C", dir, "test", "-c", "-fuzz=.", "-o", binary, ".")
	return err
}

func goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	return string(out), nil
}
