package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Of functions, lines of their bodies and signatures. Generated code is not counted, nor are tests.
const (
	maxFunction    = 60
	medianFunction = 10
)

// maxColumns of a line, of which a tab takes tabWidth.
const (
	maxColumns = 100
	tabWidth   = 4
)

func TestFunctionsAreShort(t *testing.T) {
	var lengths []int
	for _, p := range list(t, "./...") {
		for _, name := range p.GoFiles {
			lengths = append(lengths, functions(t, filepath.Join(p.Dir, name))...)
		}
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > medianFunction {
		t.Errorf("half of all functions have more than %d lines: the median is %d",
			medianFunction, median)
	}
}

// functions are the lengths of a file's functions.
func functions(t *testing.T, path string) (lengths []int) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(file) {
		return nil
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
		if lengths = append(lengths, n); n > maxFunction {
			t.Errorf("%s: %s has %d lines, more than %d", path, f.Name.Name, n, maxFunction)
		}
	}
	return lengths
}

// TestLinesAreNarrow judges every file that is not generated: tests, and files behind a build tag,
// too. A directive to go cannot be broken.
func TestLinesAreNarrow(t *testing.T) {
	git := exec.Command("git", "ls-files", "*.go")
	git.Dir = "../.."
	out, err := git.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for _, name := range strings.Fields(string(out)) {
		if path := filepath.Join(git.Dir, name); !generated(t, path) {
			narrowFile(t, path)
		}
	}
}

func generated(t *testing.T, path string) bool {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil,
		parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return ast.IsGenerated(file)
}

func narrowFile(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(b, []byte("\n")) {
		columns := utf8.RuneCount(line) + (tabWidth-1)*bytes.Count(line, []byte("\t"))
		if columns > maxColumns && !bytes.HasPrefix(line, []byte("//go:")) {
			t.Errorf("%s:%d has %d columns, more than %d", path, i+1, columns, maxColumns)
		}
	}
}
