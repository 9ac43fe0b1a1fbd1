package viz

import (
	"io"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// page is where families go: as text, or as messages. All samples of a family follow each other.
// Labels are names and values in turn; one whose value is empty is none.
type page interface {
	// family begins one. Without a sample nothing is shown of it.
	family(f family, kind familyKind)
	sample(labels []string, value float64)
	durations(labels []string, unit time.Duration, o *observed)
	// close ends the last family.
	close() error
}

// observed are durations, and some of the requests that took them.
type observed struct {
	*metric.Durations
	exemplars exemplars
}

// family is a name and what it is.
type family struct{ name, help string }

type familyKind string

const (
	counterFamily   familyKind = "counter"
	gaugeFamily     familyKind = "gauge"
	histogramFamily familyKind = "histogram"
)

// text is Prometheus's text format, 0.0.4.
type text struct {
	*metric.Text
	now  family
	kind familyKind
	told bool // the family has begun
}

func newText(w io.Writer) *text {
	return &text{Text: metric.NewText(func(piece []byte) bool {
		_, err := w.Write(piece)
		return err == nil
	})}
}

func (t *text) family(f family, kind familyKind) { t.now, t.kind, t.told = f, kind, false }

func (t *text) begin() {
	if !t.told {
		t.Family(t.now.name, t.now.help, string(t.kind))
		t.told = true
	}
}

func (t *text) sample(labels []string, value float64) {
	t.begin()
	t.Sample(t.now.name, metric.LabelText(labels...), value)
}

func (t *text) durations(labels []string, unit time.Duration, o *observed) {
	t.begin()
	t.Histogram(t.now.name, metric.LabelText(labels...), unit, o.Durations)
}

func (t *text) close() error {
	t.Flush()
	return nil
}

// counted is a page that counts its series, by family.
type counted struct {
	page
	now    string
	series map[string]int
}

func newCounted(p page) *counted { return &counted{page: p, series: make(map[string]int)} }

func (c *counted) family(f family, kind familyKind) {
	c.now = f.name
	c.page.family(f, kind)
}

func (c *counted) sample(labels []string, value float64) {
	c.series[c.now]++
	c.page.sample(labels, value)
}

func (c *counted) durations(labels []string, unit time.Duration, o *observed) {
	c.series[c.now] += classicSeries
	c.page.durations(labels, unit, o)
}

// labelKey tells labels apart: no name or value has a zero byte, for what proxies say is made
// printable.
func labelKey(labels []string) string { return strings.Join(labels, "\x00") }
