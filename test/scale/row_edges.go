package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/viz"
)

const (
	// busyTime is for how long proxies report before viz is asked, and for how long its CPU is
	// measured then: three of the longest intervals.
	busyTime = 30 * time.Second
	// asks is how often each question is put.
	asks = 20
)

// edges is viz with a proxy on each of its streams that calls five services, each of which no other
// pod of its own service calls.
func (r *run) edges(ctx context.Context) error {
	o, err := r.serverOrders(serverViz)
	if err != nil {
		return err
	}
	c, err := start(o)
	if err != nil {
		return err
	}
	return errors.Join(r.vizOfEdges(ctx, c), c.stop())
}

func (r *run) vizOfEdges(ctx context.Context, c *child) error {
	began := time.Now()
	members := make([]member, r.proxies)
	for i := range members {
		callers, calls := r.shape.edges(i)
		one, err := r.shape.newReporter(i, callers, calls)
		if err != nil {
			return err
		}
		if members[i], err = r.reporterTo(c.up.Addr, i, one); err != nil {
			return err
		}
	}
	all := gather(ctx, r.proxies, func(i int) member { return members[i] })
	defer all.stop()
	if err := all.await(ctx, gatherTime); err != nil {
		return fmt.Errorf("%w; the server: %s", err, c.refusals())
	}
	came := time.Since(began)
	if err := pause(ctx, r.patience(busyTime)); err != nil {
		return err
	}
	return errors.Join(r.vizCPU(ctx, c), r.vizQuestions(ctx, c), r.vizPage(ctx, c),
		r.weigh(ctx, rowVizEdges, c, 0, came))
}

// vizCPU is what reports alone cost.
func (r *run) vizCPU(ctx context.Context, c *child) error {
	began := time.Now()
	before, err := c.cpu()
	if err != nil {
		return err
	}
	if err := pause(ctx, r.patience(busyTime)); err != nil {
		return err
	}
	after, err := c.cpu()
	if err != nil {
		return err
	}
	r.measured(rowVizCPU, (after-before).Seconds()/time.Since(began).Seconds(),
		fmt.Sprintf("%d series change with each report", 2*edgesEach))
	return nil
}

// question is one for viz, and how many rows came of it.
type question struct {
	name string
	ask  func(context.Context, *viz.Client) (rows int, err error)
}

// questions are asked with a step, of which none but the page's charts make use: with another one
// it is another question, for an answer is remembered for its second.
func questions(step time.Duration) []question {
	all := viz.Query{Step: step}
	deploy := viz.Query{Resource: "deploy", Step: step}
	return []question{
		{"stat", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Stat(ctx, deploy))(func(s *viz.Stat) int { return len(s.Rows) })
		}},
		{"stat of services", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Stat(ctx, viz.Query{Resource: "svc", Step: step}))(
				func(s *viz.Stat) int { return len(s.Rows) })
		}},
		{"stat of one", func(ctx context.Context, c *viz.Client) (int, error) {
			q := viz.Query{Resource: "deploy/" + serviceName(1), Step: step}
			return answered(c.Stat(ctx, q))(func(s *viz.Stat) int { return len(s.Rows) })
		}},
		{"edges", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Edges(ctx, deploy))(
				func(e *viz.Edges) int { return len(e.Rows) + e.Omitted })
		}},
		{"edges of a namespace", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Edges(ctx, viz.Query{Namespace: namespaceOf(0), Step: step}))(
				func(e *viz.Edges) int { return len(e.Rows) + e.Omitted })
		}},
		{"edges of namespaces", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Edges(ctx, viz.Query{Resource: "ns", Step: step}))(
				func(e *viz.Edges) int { return len(e.Rows) + e.Omitted })
		}},
		{"routes", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Routes(ctx, all))(func(s *viz.Routes) int { return len(s.Rows) })
		}},
		{"backends", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Backends(ctx, all))(func(s *viz.Backends) int { return len(s.Rows) })
		}},
		{"top", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Top(ctx, all))(func(s *viz.Top) int { return len(s.Rows) })
		}},
		{"graph", func(ctx context.Context, c *viz.Client) (int, error) {
			return answered(c.Graph(ctx, all))(func(g *viz.Graph) int { return len(g.Edges) })
		}},
		{"graph of services", func(ctx context.Context, c *viz.Client) (int, error) {
			q := viz.Query{Group: viz.GroupService, Open: namespaceOf(0), Step: step}
			return answered(c.Graph(ctx, q))(func(g *viz.Graph) int { return len(g.Edges) })
		}},
	}
}

// answered counts an answer's rows, if there is an answer.
func answered[T any](answer *T, err error) func(rows func(*T) int) (int, error) {
	return func(rows func(*T) int) (int, error) {
		if err != nil {
			return 0, err
		}
		return rows(answer), nil
	}
}

// vizQuestions are asked one after the other, while the proxies report.
func (r *run) vizQuestions(ctx context.Context, c *child) error {
	client := viz.NewClient(c.up.Queries)
	var slowest time.Duration
	var notes []string
	for i, q := range questions(0) {
		var took []time.Duration
		before, err := c.cpu()
		if err != nil {
			return err
		}
		rows := 0
		for n := range asks {
			again := questions(time.Minute + time.Duration(n)*time.Second)[i]
			began := time.Now()
			if rows, err = again.ask(ctx, client); err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			took = append(took, time.Since(began))
		}
		after, err := c.cpu()
		if err != nil {
			return err
		}
		slices.Sort(took)
		median := percentile(took, 50)
		slowest = max(slowest, median)
		notes = append(notes, fmt.Sprintf("%s %.0f ms, p95 %.0f, CPU %.0f (of %d)", q.name,
			milliseconds(median), milliseconds(percentile(took, 95)),
			milliseconds(after-before)/asks, rows))
	}
	r.measured(rowVizQuery, milliseconds(slowest), strings.Join(notes, "; "))
	return nil
}

// vizPage is what a Prometheus reads.
func (r *run) vizPage(ctx context.Context, c *child) error {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+c.up.Page+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	series, size := 0, 0
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadString('\n')
		if size += len(line); line != "" && line[0] != '#' {
			series++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the page: %w", err)
		}
	}
	r.measured(rowVizPage, float64(series), fmt.Sprintf("%d KiB, read within %.0f ms", size>>10,
		milliseconds(time.Since(began))))
	return nil
}
