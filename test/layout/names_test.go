package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// excused are names of the mesh that several packages spell, each with its reason.
var excused = map[string]string{
	"tulle": "identity/names has it; in proxy/redirect it is nftables' table, " +
		"which only the proxy sees",
}

// A name of the mesh that two packages spell is an outage once one of them misspells it, and no
// compiler sees it. Tests spell names anew on purpose, and so does all below test/: what uses the
// constant would follow its change. viz/board asks Prometheus for everybody's series, in queries;
// of those a test asks a real one, where nothing answers a name that is misspelled.
func TestNamesOfTheMeshAreSpelledOnce(t *testing.T) {
	where := map[string]map[string]bool{} // a name, and the packages that spell it
	for _, p := range list(t, "./...") {
		who := strings.TrimPrefix(p.ImportPath, module)
		if within(who, "test") || who == "viz/board" {
			continue
		}
		for _, file := range p.GoFiles {
			for _, name := range meshNames(t, filepath.Join(p.Dir, file)) {
				if where[name] == nil {
					where[name] = map[string]bool{}
				}
				where[name][who] = true
			}
		}
	}
	for name, packages := range where {
		if len(packages) > 1 && excused[name] == "" {
			t.Errorf("%q is spelled in %s: give it a constant in identity/names, or in the one of"+
				" them that the others import", name, slices.Sorted(maps.Keys(packages)))
		}
	}
	for name := range excused {
		if len(where[name]) < 2 {
			t.Errorf("%q is excused, and spelled in %d packages", name, len(where[name]))
		}
	}
}

// meshNames are the string literals of a file that are names: without spaces, and with the mesh's
// own name in them or equal to its default domain. Generated code repeats what a .proto file says.
func meshNames(t *testing.T, path string) (names []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(file) {
		return nil
	}
	imports := map[*ast.BasicLit]bool{}
	for _, i := range file.Imports {
		imports[i.Path] = true
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING || imports[lit] {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if isName(text) {
			names = append(names, text)
		}
		return true
	})
	return names
}

func isName(s string) bool {
	ours := strings.Contains(strings.ToLower(s), "tulle") || s == "cluster.local"
	return ours && !strings.ContainsAny(s, " \t\n")
}
