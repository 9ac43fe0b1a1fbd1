package forward

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An error of ours is made in one place, which has the exchange's reason, and nobody else writes
// tulle-error: so no text goes to a caller that the log and the metrics have no word for.
func TestErrorsAreMadeInOnePlace(t *testing.T) {
	// permit's has no content, and a redirect is no error
	wantFunctions(t, isReply, "permit", "redirect", "replyUntil")
	// retryAfter reads whether a proxy has answered
	wantFunctions(t, namesError, "explain", "responseFields", "retryAfter")
}

func isReply(n ast.Node) bool {
	lit, ok := n.(*ast.CompositeLit)
	if !ok {
		return false
	}
	of, ok := lit.Type.(*ast.Ident)
	return ok && of.Name == "reply"
}

func namesError(n ast.Node) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := sel.X.(*ast.Ident)
	return ok && of.Name == "header" && sel.Sel.Name == "Error"
}

// wantFunctions checks which of the package's functions have such a node in them.
func wantFunctions(t *testing.T, is func(ast.Node) bool, want ...string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && has(f, is) {
				got[f.Name.Name] = true
			}
		}
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("%q have it, want %q", names, want)
	}
}

func has(f *ast.FuncDecl, is func(ast.Node) bool) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		found = found || n != nil && is(n)
		return !found
	})
	return found
}
