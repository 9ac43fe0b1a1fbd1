package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/plane"
)

const (
	// cellsAtOnce wait most of their time.
	cellsAtOnce = 256
	// cellTime is for a proxy to lose patience with what may become HTTP, and for the machine.
	cellTime = 15 * time.Second
	// honestEvery is between two calls of a good caller at a door.
	honestEvery = 500 * time.Millisecond
)

// door is a way to an oracle: through a proxy of its own, whose port is declared to be HTTP or not
// and which takes calls in plaintext or not, from a caller in plaintext or through the caller's
// proxy.
type door struct {
	*oracle
	service                  plane.Service
	declared, strict, meshed bool
	addr                     string
	believed                 string // what an honest caller is believed to be
}

func (d *door) String() string {
	word := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	return strings.Join([]string{
		d.name, word(d.declared, "declared", "undeclared"), word(d.strict, "strict", "permissive"),
		word(d.meshed, "through its proxy", "in plaintext"),
	}, ", ")
}

// cell is one forger at one door.
type cell struct {
	*forger
	*door
	forged  string // the identity that it makes up, which no other cell does
	outcome string
	failure string
}

// table is what is not HTTP by the word of package detect, and must not be HTTP to anybody behind
// it.
type table struct {
	plane   *plane.Plane
	oracles []*oracle
	doors   []*door
	procs   []*process
	cells   []*cell
}

// tabulate runs the rows that match, and returns what failed.
func tabulate(
	ctx context.Context, dir string, pattern *regexp.Regexp,
) (findings []string, err error) {
	rows := slices.DeleteFunc(forgers(), func(f forger) bool {
		return !pattern.MatchString("detection: " + f.name)
	})
	if len(rows) == 0 {
		return nil, nil
	}
	began := time.Now()
	t := &table{}
	defer t.close()
	if err := t.open(ctx, dir); err != nil {
		return nil, fmt.Errorf("detection: %w", err)
	}
	t.fill(rows)
	problems := t.run()
	problems = append(problems, t.blind()...)
	t.judge() // now that what each was told last is known
	printing.Lock()
	defer printing.Unlock()
	findings = t.print(rows)
	for _, err := range problems {
		findings = append(findings, "detection: "+err.Error())
	}
	took := time.Since(began).Round(time.Second)
	fmt.Printf("%d rows, %d cells in %v\n", len(rows), len(t.cells), took)
	return findings, nil
}

func (t *table) open(ctx context.Context, dir string) (err error) {
	if t.plane, err = plane.Start(ctx, dir, "hostile"); err != nil {
		return err
	}
	if t.oracles, err = openOracles(ctx, dir); err != nil {
		return err
	}
	var services []plane.Service
	for i, o := range t.oracles {
		for j := range 4 {
			d := door{oracle: o, declared: j&1 > 0, strict: j&2 > 0}
			d.service = plane.Service{
				Name: fmt.Sprintf("oracle%d-%d", i, j), Addresses: []string{o.addr},
				Mesh: loopback.Free(), Strict: d.strict,
			}
			if d.declared {
				d.service.AppProtocol = map[bool]string{false: "http", true: "http2"}[o.http2]
			}
			services = append(services, d.service)
			d.addr = d.service.Mesh
			through := d
			through.meshed, through.addr = true, loopback.Free()
			through.believed = t.plane.WorkloadID("caller").String()
			t.doors = append(t.doors, &d, &through)
		}
	}
	if err := t.plane.Write(append(services, nowhere("caller", nowhereAddr))...); err != nil {
		return err
	}
	return t.startProxies()
}

// startProxies starts one for each service, and the caller's.
func (t *table) startProxies() error {
	s := &stage{plane: t.plane}
	var upstreams []string
	for _, d := range t.doors {
		if d.meshed {
			upstreams = append(upstreams, d.addr+"="+t.plane.Authority(d.service.Name))
			continue
		}
		_, port, err := net.SplitHostPort(d.oracle.addr)
		if err != nil {
			return err
		}
		name := d.service.Name
		if err := t.start(s, name, map[string]string{
			config.EnvInboundListen:     d.service.Mesh,
			config.EnvInboundApps:       port + "=" + d.oracle.addr,
			config.EnvOutboundUpstreams: loopback.Free() + "=" + t.plane.Authority(name),
		}); err != nil {
			return err
		}
	}
	return t.start(s, "caller", map[string]string{
		config.EnvInboundListen: loopback.Free(), config.EnvInboundApps: "1=" + nowhereAddr,
		config.EnvOutboundUpstreams: strings.Join(upstreams, ","),
	})
}

func (t *table) start(s *stage, name string, env map[string]string) error {
	p, err := s.start(name, env)
	if err == nil {
		t.procs = append(t.procs, p)
	}
	return err
}

func (t *table) close() {
	for _, p := range t.procs {
		p.stop()
	}
}

// fill makes a cell of each forger at each door. An oracle with TLS has doors for good callers
// alone, and one that wants a PROXY header for those that send it.
func (t *table) fill(rows []forger) {
	for i := range rows {
		for _, d := range t.doors {
			if d.roots == nil && (!d.balanced || rows[i].balanced) {
				forged := fmt.Sprintf("spiffe://cluster.local/ns/bank/sa/admin-%d", len(t.cells))
				t.cells = append(t.cells, &cell{forger: &rows[i], door: d, forged: forged})
			}
		}
	}
}

// run runs all cells, beside a good caller at each door, and returns what those did not get.
func (t *table) run() (honest []error) {
	ctx, cancel := context.WithCancel(context.Background())
	var good, cells sync.WaitGroup
	var mu sync.Mutex
	for _, d := range t.doors {
		if d.balanced {
			continue // good callers do not come through a proxy
		}
		good.Go(func() {
			if err := d.callHonestly(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				honest = append(honest, fmt.Errorf("%v: a good caller: %w", d, err))
			}
		})
	}
	turns := make(chan struct{}, cellsAtOnce)
	for _, c := range t.cells {
		turns <- struct{}{}
		cells.Go(func() {
			c.outcome = c.run(c.addr)
			<-turns
		})
	}
	cells.Wait()
	cancel()
	good.Wait()
	return honest
}

// callHonestly asks for the page until ctx ends, over a new connection each time.
func (d *door) callHonestly(ctx context.Context) error {
	t := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(!d.http2)
	t.Protocols.SetUnencryptedHTTP2(d.http2)
	url := "http://" + d.addr + "/"
	if d.roots != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: d.roots, ServerName: "example.com"}
		url = "https://" + d.addr + "/"
	}
	client := &http.Client{Transport: t, Timeout: cellTime}
	for n := 0; ctx.Err() == nil || n == 0; n++ {
		status, body, err := get(client, url)
		if problem := d.misjudged(status, body, err); problem != nil {
			return problem
		}
		t.CloseIdleConnections()
		select {
		case <-time.After(honestEvery):
		case <-ctx.Done():
		}
	}
	return nil
}

func get(client *http.Client, url string) (status int, body string, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// misjudged says what is wrong with what a good caller got. TLS of one's own is carried as it is,
// but not where the port is declared to be HTTP; and a strict workload takes nothing in plaintext.
func (d *door) misjudged(status int, body string, err error) error {
	own := d.roots != nil
	refused := d.strict && !d.meshed || own && d.declared
	want := believes(d.believed)
	if own {
		want = believes("")
	}
	switch {
	case refused && own && err == nil:
		return fmt.Errorf("TLS was let through: %d", status)
	case refused && own:
		return nil
	case err != nil:
		return err
	case refused && status != http.StatusForbidden:
		return fmt.Errorf("status %d instead of 403", status)
	case !refused && (status != http.StatusOK || strings.TrimSpace(body) != want):
		return fmt.Errorf("status %d, %.100q instead of %q", status, body, want)
	}
	return nil
}

// run says what the forger has to say, to addr, and returns what came of it.
func (c *cell) run(addr string) string {
	nc, err := net.DialTimeout("tcp", addr, cellTime)
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(2 * cellTime))
	heard := make(chan string, 1)
	go func() { heard <- c.hear(bufio.NewReader(nc)) }()
	for i, piece := range c.pieces(forgedFields(c.forged)) {
		if i > 0 {
			time.Sleep(c.pause)
		}
		io.WriteString(nc, piece) // an error is an answer, and heard
	}
	select {
	case outcome := <-heard:
		return outcome
	case <-time.After(cellTime):
		return silent
	}
}

// hear is how a forger is answered.
func (c *cell) hear(r *bufio.Reader) string {
	first, err := r.Peek(len("HTTP/"))
	switch {
	case err != nil && len(first) == 0:
		return cut
	case string(first) != "HTTP/":
		return c.hearFrames(r)
	}
	return c.hearResponse(r)
}

// hearResponse is hear in HTTP/1.
func (c *cell) hearResponse(r *bufio.Reader) string {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "an answer that is none: " + err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // as far as it came
	return c.outcomeOf(resp.StatusCode, resp.Header.Get("server"), string(body))
}

// outcomeOf names an answer. nginx and Python name themselves in theirs; Go's own begin with their
// status, and are empty for OPTIONS *.
func (c *cell) outcomeOf(status int, server, body string) string {
	own := server != "" || body == "" || strings.HasPrefix(body, strconv.Itoa(status)+" ")
	switch {
	case status == http.StatusOK && strings.TrimSpace(body) == believes(c.believed):
		return "200"
	case status == http.StatusOK && body != "":
		return fmt.Sprintf("200, %.100q", body)
	case own:
		return "app"
	}
	return strconv.Itoa(status)
}

// hearFrames is hear in HTTP/2.
func (c *cell) hearFrames(r *bufio.Reader) string {
	f := http2.NewFramer(io.Discard, r)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	status, server, body := 0, "", ""
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return cut
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status, _ = strconv.Atoi(frame.PseudoValue("status")) // 0 for none
			for _, h := range frame.RegularFields() {
				if h.Name == "server" {
					server = h.Value
				}
			}
		case *http2.DataFrame:
			body += string(frame.Data())
		case *http2.RSTStreamFrame:
			return "RST " + frame.ErrCode.String()
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeNo {
				return "GOAWAY " + frame.ErrCode.String()
			}
			continue
		}
		if ended(frame) {
			return c.outcomeOf(status, server, body)
		}
	}
}

func ended(f http2.Frame) bool {
	switch f.(type) {
	case *http2.MetaHeadersFrame, *http2.DataFrame:
		return f.Header().Flags.Has(http2.FlagDataEndStream)
	}
	return false
}

// wanted is what may come of a cell.
func (c *cell) wanted() string {
	w := c.want
	if c.strict && !c.meshed {
		return "403|400|408|414|431|501|505|" + cut
	}
	switch {
	case c.door.balanced:
		return "400|" + cut
	case c.http2 && c.declared:
		return w.declared2
	case c.http2:
		return w.undeclared2
	case c.declared:
		return w.declared
	}
	return w.undeclared
}

// judge looks at what came of each cell, and for what it made up in what the oracles were told.
func (t *table) judge() {
	told := map[*oracle]string{}
	for _, o := range t.oracles {
		text, err := o.told()
		if err != nil {
			text = err.Error()
		}
		told[o] = text
	}
	for _, c := range t.cells {
		switch {
		case slices.ContainsFunc([]string{"]", "\n", ","}, func(end string) bool {
			return strings.Contains(told[c.oracle], c.forged+end) // not the beginning of another's
		}):
			c.failure = "THE APPLICATION WAS TOLD WHAT THE CALLER MADE UP; " + c.outcome
		case !accepts(c.wanted(), c.outcome):
			c.failure = fmt.Sprintf("%s instead of %s", c.outcome, c.wanted())
		}
	}
}

// blind tells of oracles that do not see what is in front of them: they must believe a forger who
// comes past the proxy.
func (t *table) blind() (all []error) {
	plain, frames, header := pausing()[0], forgers2()[0], disguised()[0]
	for i, o := range t.oracles {
		f := &plain
		switch {
		case o.http2:
			f = &frames
		case o.balanced:
			f = &header
		}
		if o.roots != nil {
			continue // it is not asked whether it believes
		}
		c := &cell{forger: f, door: &door{oracle: o}, forged: fmt.Sprintf("past-%d", i)}
		outcome := c.run(o.addr)
		if err := o.awaitTold(c.forged); err != nil || !strings.Contains(outcome, c.forged) {
			blind := fmt.Errorf("%s does not see a header that is there: %s", o.name, outcome)
			all = append(all, errors.Join(blind, err))
		}
	}
	return all
}

// awaitTold waits for an oracle to remember what it was told: it may do so after its answer.
func (o *oracle) awaitTold(what string) error {
	for until := time.Now().Add(cellTime); ; time.Sleep(10 * time.Millisecond) {
		text, err := o.told()
		switch {
		case err != nil:
			return err
		case strings.Contains(text, what):
			return nil
		case time.Now().After(until):
			return fmt.Errorf("it was not told of %s within %v", what, cellTime)
		}
	}
}
