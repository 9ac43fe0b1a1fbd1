package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/output"
)

// process is a mesh-proxy under attack.
type process struct {
	name  string
	cmd   *exec.Cmd
	admin string
	ended chan struct{}
	log   output.Tail
}

// start runs a mesh-proxy and waits until it is ready.
func (s *stage) start(name string, env map[string]string) (p *process, err error) {
	p = &process{name: name, ended: make(chan struct{})}
	env[config.EnvLogLevel] = "error"
	maps.Copy(env, s.env)
	if p.cmd, p.admin, err = s.plane.Proxy(*meshProxy, name, &p.log, env); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.log.String())
	}
	go func() {
		p.cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	return p, nil
}

// stop kills the process and waits for its end.
func (p *process) stop() {
	p.cmd.Process.Kill()
	<-p.ended
}

// alive says why not.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("the proxy %s died: %s", p.name, p.log.String())
	default:
	}
	_, err := p.get("/live")
	return err
}

// adminClient does not keep connections: they would be among the goroutines that are counted.
var adminClient = &http.Client{
	Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
}

func (p *process) get(path string) (string, error) {
	resp, err := adminClient.Get("http://" + p.admin + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, resp.Status)
	}
	return string(b), err
}

// rss is the process's resident memory; 0 when it has ended, which is told otherwise.
func (p *process) rss() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	f := strings.Fields(string(b))
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(f[1])
	return pages * os.Getpagesize()
}

func resident(procs []*process) (all []int) {
	for _, p := range procs {
		all = append(all, p.rss())
	}
	return all
}

// scrape is the page of metrics: series to value.
func (p *process) scrape() (map[string]float64, error) {
	text, err := p.get("/metrics")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(line, "#") {
			all[name] = n
		}
	}
	return all, nil
}
