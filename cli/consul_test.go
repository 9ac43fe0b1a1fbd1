package cli

import (
	"slices"
	"strings"
	"testing"
)

// What install is told of a Consul is in destination's Deployment, and no secret with it.
func TestInstallWithConsul(t *testing.T) {
	plain, _, _ := run(t, "", "install")
	if strings.Contains(plain, "consul") {
		t.Error("without a Consul the manifest speaks of one")
	}
	text, errOut, status := run(t, "", "install", "--consul-address=https://consul.example:8501",
		"--consul-namespace=legacy", "--consul-datacenter=dc2", "--consul-token-secret=consul",
		"--consul-ca-secret=roots")
	if status != 0 {
		t.Fatalf("status %d, %s", status, errOut)
	}
	var args []string
	for line := range strings.SplitSeq(text, "\n") {
		if arg, ok := strings.CutPrefix(strings.TrimSpace(line), "- --consul-"); ok {
			args = append(args, arg)
		}
	}
	want := []string{"address=https://consul.example:8501", "namespace=legacy", "datacenter=dc2",
		"token-file=/etc/consul-token/token", "ca-file=/etc/consul-ca/ca.crt"}
	if !slices.Equal(args, want) {
		t.Errorf("told %q, want %q", args, want)
	}
	cmd, rest, err := New("v1").Find([]string{"serve", "destination"})
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range args {
		rest = append(rest, "--consul-"+arg)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("serve does not understand what install writes: %v", err)
	}
	for _, wanted := range []string{"secretName: consul\n", "secretName: roots\n",
		"mountPath: /etc/consul-token\n", "mountPath: /etc/consul-ca\n"} {
		if strings.Count(text, wanted) != 1 {
			t.Errorf("%q is there %d times", wanted, strings.Count(text, wanted))
		}
	}
	if strings.Contains(text, "kind: Secret") {
		t.Error("the manifest has a Secret")
	}
}

func TestConsulFlagsAreChecked(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"install --consul-address=ftp://consul", "--consul-address: the address of Consul"},
		{"install --consul-address=http://user:hunter2@consul", "must be such as"},
		{"install --consul-address=consul:8500 --consul-namespace=A", `--consul-namespace "A"`},
		{"install --consul-token-secret=consul", "--consul-token-secret: say which"},
		{"install --consul-address=consul:8500 --consul-ca-secret=A_B", `--consul-ca-secret "A_B"`},
		{"serve destination --consul-address=consul:8500 --consul-ca-file=/none", "no such file"},
	} {
		_, errOut, status := run(t, "", strings.Fields(c.args)...)
		if status != exitUsage || !strings.Contains(errOut, c.want) ||
			strings.Contains(errOut, "hunter2") {
			t.Errorf("%s: status %d, %s; want %q", c.args, status, errOut, c.want)
		}
	}
}
