package plane

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
)

const readyTimeout = 20 * time.Second

// Proxy starts a mesh-proxy for a service and waits until it is ready. It returns where the proxy's
// admin pages are.
func (p *Plane) Proxy(
	binary, service string, said io.Writer, env map[string]string,
) (cmd *exec.Cmd, admin string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	if _, err := io.WriteString(w, p.dev.Token(p.WorkloadID(service), service)); err != nil {
		return nil, "", err
	}
	w.Close()
	admin = loopback.Free()
	cmd = exec.Command(binary, "run")
	cmd.ExtraFiles = []*os.File{r}
	cmd.Stderr = said
	// nothing outlives the program
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, set := range []map[string]string{
		p.environment(service), {config.EnvAdminListen: admin}, env,
	} {
		for k, v := range set {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", binary, err)
	}
	if err := awaitReady("http://" + admin + "/ready"); err != nil {
		cmd.Process.Kill()
		cmd.Wait() // killed: its error says nothing
		return nil, "", fmt.Errorf("the proxy of %s: %w", service, err)
	}
	return cmd, admin, nil
}

func (p *Plane) environment(service string) map[string]string {
	env := map[string]string{
		config.EnvIdentity: p.WorkloadID(service).String(), config.EnvTrustFile: p.TrustFile(),
		config.EnvTokenFD: "3", config.EnvLogLevel: "warn",
		config.EnvIdentityAddr: p.identity, config.EnvIdentityID: p.dev.ServerID().String(),
		config.EnvDestinationAddr: p.destination,
		config.EnvDestinationID:   serverID("destination").String(),
	}
	if p.viz != "" {
		env[config.EnvVizAddr], env[config.EnvVizID] = p.viz, serverID("viz").String()
	}
	return env
}

// awaitReady asks each millisecond: how long a proxy takes to start is measured by it. It keeps no
// connection, which would be in the proxy's memory and among its goroutines.
func awaitReady(url string) error {
	client := &http.Client{Timeout: readyTimeout,
		Transport: &http.Transport{DisableKeepAlives: true}}
	last := "no answer"
	until := time.Now().Add(readyTimeout)
	for ; time.Now().Before(until); time.Sleep(time.Millisecond) {
		resp, err := client.Get(url)
		if err != nil {
			continue
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			return nil
		}
		last = string(b)
	}
	return fmt.Errorf("not ready: %s", last)
}
