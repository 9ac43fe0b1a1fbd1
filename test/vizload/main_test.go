package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz"
)

// Every proxy is heard, both ends of each edge agree, and the end is clean.
func TestLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, write, 0) }()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	client := viz.NewClient(strings.TrimSpace(line))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		edges, err := client.Edges(ctx, viz.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if both(edges.Rows) == 3 {
			break
		}
		<-tick.C
	}
	stat, err := client.Stat(ctx, viz.Query{Resource: "deploy"})
	if err != nil || len(stat.Rows) != 5 {
		t.Errorf("%d rows, %v", len(stat.Rows), err)
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) &&
		!strings.Contains(err.Error(), "anceled") {
		t.Errorf("run ended with %v", err)
	}
}

func both(rows []viz.EdgeRow) int {
	n := 0
	for _, r := range rows {
		if r.ReportedBy == "both" {
			n++
		}
	}
	return n
}
