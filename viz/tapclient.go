package viz

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tulle-mesh/tulle/identity/names"
)

// maxTapLine bounds a line of a tap, bytes.
const maxTapLine = 1 << 20

// TapLine is what a tap says: a request, or what it has counted.
type TapLine struct {
	Record *TapRecord // nil: Counts it is
	Counts TapCounts
}

// ParseTapLine reads a line of JSON, of a tap or of an access log.
func ParseTapLine(line []byte) (TapLine, error) {
	var both struct {
		TapRecord
		TapCounts
	}
	if err := json.Unmarshal(line, &both); err != nil {
		return TapLine{}, err
	}
	if both.Direction == "" {
		return TapLine{Counts: both.TapCounts}, nil
	}
	return TapLine{Record: &both.TapRecord, Counts: both.TapCounts}, nil
}

// Tap asks /api/tap, and calls each for every line until viz or the context ends it, or each fails.
func (c *Client) Tap(ctx context.Context, q *TapQuery, each func(TapLine) error) error {
	where := url.URL{Scheme: "http", Host: c.addr, Path: "/api/tap", RawQuery: q.values().Encode()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return fmt.Errorf("tap: %w", err)
	}
	if q.Nonce != "" {
		r.Header.Set(names.TapNonceHeader, q.Nonce)
	}
	endless := http.Client{Transport: c.http.Transport}
	response, err := endless.Do(r)
	if err != nil {
		var request *url.Error
		if errors.As(err, &request) {
			err = request.Err
		}
		return fmt.Errorf("tap: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return refusal("a tap", response.Status, json.NewDecoder(response.Body))
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxTapLine)
	for lines.Scan() {
		line, err := ParseTapLine(lines.Bytes())
		if err != nil {
			return fmt.Errorf("tap: read viz's answer: %w", err)
		}
		if err := each(line); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("tap: %w", err)
	}
	return nil
}
