package main

import (
	"strings"
	"testing"
	"time"
)

const wrkSays = `Running 1s test @ http://127.0.0.1:1/
  Latency Distribution
     50%  713.00us
     75%    1.20ms
     90%    1.90ms
     99%    3.24ms
  40000 requests in 2.00s, 5.53MB read
%sRequests/sec:  20000.00
`

func TestWrkIsRead(t *testing.T) {
	f, err := readWrk(strings.Replace(wrkSays, "%s", "", 1), 1)
	if err != nil || f[done] != 40000 || f[rate] != 20000 || f[p50] != 0.713 || f[p99] != 3.24 {
		t.Errorf("%v, %v", f, err)
	}
	for _, bad := range []string{
		"  Non-2xx or 3xx responses: 7\n",
		"  Socket errors: connect 0, read 7, write 0, timeout 0\n",
	} {
		_, err := readWrk(strings.Replace(wrkSays, "%s", bad, 1), 1)
		if err == nil || !strings.Contains(err.Error(), "7 requests failed") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

const h2loadSays = `finished in 2.00s, 500.00 req/s, 1.00MB/s
requests: 1000 total, 1128 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.00MB (1000000) total, 10KB (10000) headers (space savings 90.00%), 12.70KB (13000) data
`

func TestH2loadIsRead(t *testing.T) {
	q := question{answer: 13, unit: 1}
	f, err := readH2load(h2loadSays, q, 2*time.Second)
	if err != nil || f[done] != 1000 || f[rate] != 500 {
		t.Errorf("%v, %v", f, err)
	}
	for what, tt := range map[string]struct {
		out string
		q   question
	}{
		"7 requests failed":   {strings.Replace(h2loadSays, "0 failed", "7 failed", 1), q},
		"less than they shou": {strings.Replace(h2loadSays, "(13000) data", "(12987) data", 1), q},
		"only 500 requests/s": {h2loadSays, question{answer: 13, unit: 1, rps: 600}},
	} {
		_, err := readH2load(tt.out, tt.q, 2*time.Second)
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
