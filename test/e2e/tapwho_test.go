//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz"
)

// tapper is an account that may reach viz, and tap the namespaces that it is given the role for.
func tapper(t *testing.T, account string, namespaces ...string) (as string) {
	t.Helper()
	const subject = " --serviceaccount=" + without + ":"
	apply := func(line string) {
		shell(t, "kubectl create "+line+" --dry-run=client -o yaml | kubectl apply -f -")
	}
	bind := func(ns, role string) {
		apply("rolebinding " + account + " -n " + ns + " " + role + subject + account)
		t.Cleanup(func() { run(t, "kubectl", "-n", ns, "delete", "rolebinding", account) })
	}
	apply("serviceaccount " + account + " -n " + without)
	feed(t, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"+
		"metadata: {name: reach-viz, namespace: tulle}\nrules:\n"+
		"- {apiGroups: [\"\"], resources: [pods], verbs: [get, list]}\n"+
		"- {apiGroups: [\"\"], resources: [pods/portforward], verbs: [create, get]}\n",
		"kubectl", "apply", "-f", "-")
	bind("tulle", "--role=reach-viz")
	for _, ns := range namespaces {
		bind(ns, "--clusterrole=tulle-tap")
	}
	return "--as=system:serviceaccount:" + without + ":" + account
}

// taps watches a namespace's server, as somebody, for two minutes at most.
func taps(as, ns string, more ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	args := append([]string{"viz", "tap", "svc/server", "-n", ns, as, "--duration", "2m", "-o",
		"json"}, more...)
	cmd := exec.Command("meshctl", args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	return cmd, &out, &said
}

// Whoever may tap one namespace taps that, and no other, and who may tap none taps nothing; an
// Event says so, and nothing is left of it.
func TestWhoMayTap(t *testing.T) {
	ready(t)
	allowed, none := tapper(t, "tapper", byHook), tapper(t, "bystander")
	for who, refused := range map[string][][]string{
		allowed: {{"-n", byCLI, "svc/server"}, {"-A"}},
		none:    {{"-n", byHook, "svc/server"}, {"-n", byCLI}, {"-A"}},
	} {
		for _, what := range refused {
			out, err := try("", "meshctl", append([]string{"viz", "tap", who, "--duration", "3s"},
				what...)...)
			if err == nil || !strings.Contains(err.Error(), "Who taps must be able to create") ||
				!strings.Contains(err.Error(), "tulle-tap") || out != "" {
				t.Errorf("%s taps %v: %v\n%s", who, what, err, out)
			}
		}
	}
	cmd, out, said := taps(allowed, byHook, "--limit", "2")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	callUntil(t, cmd, said)
	for line := range strings.Lines(out.String()) {
		var r viz.TapRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Namespace != byHook &&
			r.ClientNamespace != byHook && r.ServerNamespace != byHook {
			t.Errorf("it shows %s, %v", line, err)
		}
	}
	if strings.Count(out.String(), "\n") != 2 {
		t.Errorf("it shows %q and says %q", out, said)
	}
	events := run(t, "kubectl", "-n", byHook, "get", "events", "--field-selector",
		"reason=Tapped,involvedObject.kind=Service,involvedObject.name=server", "-o",
		"jsonpath={.items[*].message}")
	if !strings.Contains(events, "requests are watched, by TapSession tap-") {
		t.Errorf("the events are %q", events)
	}
	if left := sessions(t, byHook); left != "" {
		t.Errorf("left is %s", left)
	}
}

// callUntil calls until a tap has ended.
func callUntil(t *testing.T, cmd *exec.Cmd, said *bytes.Buffer) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.After(3 * time.Minute)
	for {
		call(t, byHook, "http://server."+byHook+"/tapped")
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			return
		case <-deadline:
			cmd.Process.Kill()
			t.Fatal("the tap has not ended")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func sessions(t *testing.T, ns string) string {
	t.Helper()
	return run(t, "kubectl", "-n", ns, "get", "tapsessions", "-o",
		"jsonpath={.items[*].metadata.name}")
}

// A tap ends when its session is deleted, whoever does that.
func TestATapEndsWithItsSession(t *testing.T) {
	ready(t)
	cmd, _, said := taps(tapper(t, "tapper", byHook), byHook)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(t, time.Minute, func() error {
		if sessions(t, byHook) == "" {
			return errors.New("there is no session")
		}
		events := run(t, "kubectl", "-n", byHook, "get", "events", "--field-selector",
			"reason=Tapped", "-o", "jsonpath={.items[*].related.name}")
		if !strings.Contains(events, sessions(t, byHook)) {
			return fmt.Errorf("the tap has not begun: %s", events)
		}
		return nil
	})
	run(t, "kubectl", "-n", byHook, "delete", "tapsessions", "--all")
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(said.String(), "its TapSession has ended") {
			t.Errorf("%v: %s", err, said)
		}
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		t.Error("it goes on")
	}
}

// Who has reached viz does not tap by that, whatever is made up, and the API server takes no
// session that says nothing, or something else after a while.
func TestReachingVizIsNoLeaveToTap(t *testing.T) {
	ready(t)
	addr := forwardPod(t, vizPods(t)[0])
	for _, nonce := range []string{"", "made up"} {
		r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/api/tap?stream=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Tulle-Tap-Nonce", nonce)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden || err != nil ||
			!strings.Contains(string(text), "create clustertapsessions") {
			t.Errorf("with %q: %s %s %v", nonce, answer.Status, text, err)
		}
	}
	session := func(hash string) string {
		return "apiVersion: tulle.dev/v1alpha1\nkind: TapSession\nmetadata: {name: e2e}\n" +
			"spec: {nonceHash: \"" + hash + "\"}\n"
	}
	apply := func(text string) error {
		_, err := try(text, "kubectl", "apply", "-n", byCLI, "-f", "-")
		return err
	}
	if err := apply(session("abc")); err == nil {
		t.Error("a hash of three digits is taken")
	}
	if err := apply(session(strings.Repeat("a", 64))); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { run(t, "kubectl", "-n", byCLI, "delete", "tapsession", "e2e") })
	err := apply(session(strings.Repeat("b", 64)))
	if err == nil || !strings.Contains(err.Error(), "a session does not change") {
		t.Errorf("another hash: %v", err)
	}
}

// The page shows the live requests that who opened it may tap, and those alone; its session ends
// with the command.
func TestThePageShowsLiveRequestsByItsUsersLeave(t *testing.T) {
	ready(t)
	for as, want := range map[string]int{
		tapper(t, "tapper", byHook): http.StatusOK, tapper(t, "bystander"): http.StatusForbidden,
	} {
		cmd := exec.Command("meshctl", "dashboard", "-n", byHook, as)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		jar, _ := cookiejar.New(nil) // it has no options that could be wrong
		browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
		page, _, _ := strings.Cut(line, "?")
		for _, url := range []string{strings.TrimSpace(line),
			page + "api/tap?stream=1&duration=1s"} {
			answer, err := browser.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if strings.Contains(url, "/api/tap") && answer.StatusCode != want {
				t.Errorf("%s gets %s, want %d", as, answer.Status, want)
			}
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // interrupted: how it ends says nothing
		if left := sessions(t, byHook); left != "" {
			t.Errorf("left is %s", left)
		}
	}
}
