package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

const (
	// mostKept inputs of a target go with the package: each `go test` runs them all.
	mostKept = 40
	// largestKept is the size of a file, which is text and about thrice the input.
	largestKept = 4 << 10
)

// input is a file of Go's cache.
type input struct {
	path string
	size int64
	bits int // of coverage that neither the seeds nor smaller inputs have
}

// keep copies into the package those of the cache's inputs that add most to what is there, and says
// how many.
func (t *target) keep(ctx context.Context) (int, error) {
	have, err := t.seeds()
	if err != nil {
		return 0, err
	}
	found, err := t.weigh(ctx)
	if err != nil {
		return 0, err
	}
	slices.SortStableFunc(found, func(a, b input) int { return cmp.Compare(b.bits, a.bits) })
	found = slices.DeleteFunc(found, func(i input) bool { return i.bits == 0 })
	found = found[:min(len(found), max(0, mostKept-len(have)))]
	dir := filepath.Join(t.dir, "testdata", "fuzz", t.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	for _, i := range found {
		if err := copyFile(filepath.Join(dir, filepath.Base(i.path)), i.path); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// weigh reads the small files of the cache, and what each adds to what is covered by the smaller
// ones before it.
func (t *target) weigh(ctx context.Context) ([]input, error) {
	found, err := t.cached()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fuzzkeep")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	seeds, _, err := t.corpus(ctx, dir, 1)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, t.name), 0o755); err != nil {
		return nil, err
	}
	for n, i := range found {
		if err := copyFile(filepath.Join(dir, t.name, fmt.Sprintf("%06d", n)), i.path); err != nil {
			return nil, err
		}
	}
	if all, _, err := t.corpus(ctx, dir, 1); err != nil || all != seeds+len(found) {
		return nil, fmt.Errorf(
			"%d seeds and %d inputs make %d: some are the same; try after go clean -fuzzcache (%v)",
			seeds, len(found), all, err)
	}
	_, bits, err := t.corpus(ctx, dir, seeds+len(found))
	if err != nil || len(bits) != seeds+len(found) {
		return nil, fmt.Errorf("%d seeds and %d inputs gave %d results: %w",
			seeds, len(found), len(bits), err)
	}
	for n := range found {
		found[n].bits = bits[seeds+n]
	}
	return found, nil
}

// cached are the small files of the cache that the package does not have, the smallest first.
func (t *target) cached() (found []input, err error) {
	entries, err := os.ReadDir(filepath.Join(t.cache, t.name))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		_, err = os.Stat(filepath.Join(t.dir, "testdata", "fuzz", t.name, e.Name()))
		if err == nil || info.Size() > largestKept {
			continue
		}
		found = append(found,
			input{path: filepath.Join(t.cache, t.name, e.Name()), size: info.Size()})
	}
	slices.SortStableFunc(found, func(a, b input) int { return cmp.Compare(a.size, b.size) })
	return found, nil
}

var newBits = regexp.MustCompile(`(?m) DEBUG processed an initial input, .* new bits: (\d+),`)

// corpus runs as many of the seeds, and then of a cache in its files' order. It says how many there
// are, and how much coverage each adds to those before it.
func (t *target) corpus(
	ctx context.Context, cache string, runs int,
) (size int, bits []int, err error) {
	cmd := t.command(ctx, cache, fmt.Sprintf("%dx", runs))
	cmd.Env = append(os.Environ(), "GODEBUG=fuzzdebug=1")
	said, err := cmd.CombinedOutput()
	m := baseline.FindSubmatch(said)
	if err != nil || m == nil {
		return 0, nil, fmt.Errorf("run the corpus: %w\n%s", err, said)
	}
	size, _ = strconv.Atoi(string(m[2]))
	for _, m := range newBits.FindAllSubmatch(said, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		bits = append(bits, n)
	}
	return size, bits, nil
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
