//go:build e2e

package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"os/exec"
	"testing"
	"time"
)

// knocker is a rogue that keeps the SVID it had at first, and its TLS sessions.
type knocker struct {
	line     io.Writer
	said     *bufio.Reader
	answered bool // else kubectl has failed, not the program
}

func startKnocker(t *testing.T) *knocker {
	t.Helper()
	ip := ipOf(t, byCLI, podOf(t, byCLI, "app=server"))
	cmd := exec.Command("kubectl", "-n", rogues, "exec", "-i", "deploy/client", "-c", "app", "--",
		"/app", "mesh", "-id", rogueID(), "-addr", ip+":4143",
		"-peer", "spiffe://cluster.local/ns/"+byCLI+"/sa/server")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k := &knocker{line: stdin, said: bufio.NewReader(stderr)}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil && k.answered {
			t.Errorf("app mesh: %v", err)
		}
	})
	return k
}

// answer is what came of the last knock. What kubectl itself says on the way is told if nothing
// else comes.
func (k *knocker) answer() (m meshed, err error) {
	var others []byte
	for {
		line, err := k.said.ReadBytes('\n')
		if err != nil {
			return m, fmt.Errorf("%w after %q", err, others)
		}
		if line[0] == '{' {
			k.answered = true
			return m, json.Unmarshal(line, &m)
		}
		others = append(others, line...)
	}
}

func (k *knocker) again() (meshed, error) {
	if _, err := io.WriteString(k.line, "\n"); err != nil {
		return meshed{}, err
	}
	return k.answer()
}

// Roots rotate without a restart, and without a loss while both are trusted. Once the old root is
// gone, what it vouched for is refused: on a new connection with the sessions of an old one, too.
func TestRotationAndRemovedRoot(t *testing.T) {
	deployRogues(t)
	var k *knocker
	eventually(t, time.Minute, func() error {
		k = startKnocker(t)
		m, err := k.answer()
		if err == nil && m.Status != "200" {
			err = fmt.Errorf("before: %+v", m)
		}
		return err
	})
	if m, err := k.again(); err != nil || m.Status != "200" || m.Resumed {
		t.Errorf("a second connection must be authorized anew: %+v %v", m, err)
	}
	old, next := issuerSecret(t), newIssuer(t)
	both := append(append([]byte{}, old["ca.crt"]...), next["ca.crt"]...)

	l := startLoad(t, byHook, 200, "http://server."+byCLI+"/")
	storeIssuer(t, map[string][]byte{
		"tls.crt": old["tls.crt"], "tls.key": old["tls.key"], "ca.crt": both,
	})
	run(t, "meshctl", "check", "--wait", "2m")
	storeIssuer(t, map[string][]byte{
		"tls.crt": next["tls.crt"], "tls.key": next["tls.key"], "ca.crt": both,
	})
	// somebody gets an SVID of the new issuer
	run(t, "kubectl", "-n", byHook, "rollout", "restart", "deployment/redis")
	rolledOut(t, byHook, "deployment/redis")
	l.lostNothing(t)

	storeIssuer(t, next)
	eventually(t, time.Minute, func() error {
		m, err := k.again()
		if err == nil && m.Status != "" {
			err = fmt.Errorf("an SVID of the removed root is still taken: %+v", m)
		}
		return err
	})
	run(t, "meshctl", "check", "--wait", "2m")
	for _, e := range []edge{{byCLI, byHook}, {byHook, byCLI}} {
		eventually(t, time.Minute, func() error {
			a := call(t, e.from, "http://"+e.host("server")+"/")
			if a.Status != 200 || a.sent("Tulle-Client-Id") != e.identity() {
				return fmt.Errorf("after the removal: %+v", a)
			}
			return nil
		})
	}
}

const issuerName = "tulle-identity-issuer"

func issuerSecret(t *testing.T) map[string][]byte {
	t.Helper()
	var secret struct{ Data map[string][]byte }
	text := run(t, "kubectl", "-n", "tulle", "get", "secret", issuerName, "-o", "json")
	if err := json.Unmarshal([]byte(text), &secret); err != nil {
		t.Fatal(err)
	}
	return secret.Data
}

func storeIssuer(t *testing.T, data map[string][]byte) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		t.Fatal(err)
	}
	run(t, "kubectl", "-n", "tulle", "patch", "secret", issuerName,
		"--type=merge", "-p", string(patch))
}

// newIssuer is a root with its key, as an operator would bring it.
func newIssuer(t *testing.T) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IsCA: true, BasicConstraintsValid: true,
		Subject:   pkix.Name{CommonName: "the next root"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:     []*url.URL{{Scheme: "spiffe", Host: "cluster.local"}},
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return map[string][]byte{"tls.crt": cert, "ca.crt": cert,
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}
