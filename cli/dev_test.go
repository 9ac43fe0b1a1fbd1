package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tulle-mesh/tulle/cli/dev"
)

// runDev runs meshctl dev in an empty folder.
func runDev(t *testing.T, args ...string) (status int, out, complaint string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var stdout, stderr bytes.Buffer
	root := newRoot("dev",
		genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr})
	root.SetArgs(append([]string{"dev"}, args...))
	status = report(&stderr, root.ExecuteContext(t.Context()))
	return status, stdout.String(), stderr.String()
}

func TestDevWithoutAMesh(t *testing.T) {
	cases := []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"up"}, exitError, "read the mesh: open"},
		{[]string{"up", "-f", "other.yaml"}, exitError, "other.yaml: no such file"},
		{[]string{"up", "--live", "10ms"}, exitUsage, "--live 10ms"},
		{[]string{"up", "--live", "-1s"}, exitUsage, "--live -1s"},
		{[]string{"up", "mesh.yaml"}, exitUsage, "unknown command"},
		{[]string{"down"}, exitOK, "no mesh runs here"},
		{[]string{"check"}, exitError, "start one with 'meshctl dev up'"},
		{[]string{"status"}, exitError, "start one with 'meshctl dev up'"},
		{[]string{"status", "-o", "xml"}, exitUsage, `unknown output format "xml"`},
		{[]string{"restart", "viz"}, exitError, "start one with 'meshctl dev up'"},
		{[]string{"restart"}, exitUsage, "accepts 1 arg"},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			status, out, complaint := runDev(t, c.args...)
			if status != c.status || !strings.Contains(complaint, c.want) || out != "" {
				t.Errorf("status %d, want %d; stdout %q; stderr %q, want %q", status, c.status, out,
					complaint, c.want)
			}
			if left, _ := filepath.Glob("*"); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
			if _, err := os.Stat(dev.DefaultDir); err == nil {
				t.Error("it left a state folder")
			}
		})
	}
}

func TestDevFindings(t *testing.T) {
	var out bytes.Buffer
	err := printDevFindings(&out,
		[]dev.Finding{{OK: true, Text: "fine"}, {OK: false, Text: "not fine"}})
	if exitStatus(err) != exitFindings || out.String() != "√ fine\n× not fine\n" {
		t.Errorf("%v, %q", err, out.String())
	}
	if err := printDevFindings(&out, []dev.Finding{{OK: true, Text: "fine"}}); err != nil {
		t.Errorf("nothing wrong: %v", err)
	}
}
