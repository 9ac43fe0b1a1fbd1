package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// job does its work, a request, and is done: it fails unless it was answered well.
func job(ctx context.Context, args []string) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("usage: app job URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return nil, err
	}
	a := do(&http.Client{Timeout: 15 * time.Second, Transport: transport(false)}, req)
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("%d %s %s", a.Status, a.Error, a.Body)
	}
	return a, nil
}
