package admin

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// writeProcess adds what Prometheus's libraries say of every process, under their names. What the
// system does not tell is left out.
func (s *Server) writeProcess(t *metric.Text) {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
		t.Counter("process_cpu_seconds_total",
			"Total user and system CPU time spent in seconds.", cpu.Seconds())
	}
	var fds syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &fds) == nil {
		t.Gauge("process_max_fds", "Maximum number of open file descriptors.", float64(fds.Cur))
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		t.Gauge("process_open_fds", "Number of open file descriptors.", float64(len(open)))
	}
	if virtual, resident, ok := memory(); ok {
		t.Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", virtual)
		t.Gauge("process_resident_memory_bytes", "Resident memory size in bytes.", resident)
	}
	t.Gauge("process_start_time_seconds",
		"Start time of the process since unix epoch in seconds.", float64(s.start.Unix()))
}

// memory is what Linux says of this process, in bytes.
func memory() (virtual, resident float64, ok bool) {
	b, err := os.ReadFile("/proc/self/statm")
	pages := bytes.Fields(b)
	if err != nil || len(pages) < 2 {
		return 0, 0, false
	}
	v, verr := strconv.Atoi(string(pages[0]))
	r, rerr := strconv.Atoi(string(pages[1]))
	size := os.Getpagesize()
	return float64(v * size), float64(r * size), verr == nil && rerr == nil
}

// writeRuntime adds what Prometheus's libraries say of Go, but for the memory statistics, which are
// forty more series for every pod.
func writeRuntime(t *metric.Text) {
	t.Gauge("go_goroutines", "Number of goroutines that currently exist.",
		float64(runtime.NumGoroutine()))
	t.Family("go_info", "Information about the Go environment.", "gauge")
	t.Sample("go_info", metric.LabelText("version", runtime.Version()), 1)
	t.Gauge("go_sched_gomaxprocs_threads", "The current runtime.GOMAXPROCS setting.",
		float64(runtime.GOMAXPROCS(0)))
	samples := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/gomemlimit:bytes"}}
	metrics.Read(samples)
	t.Gauge("go_gc_gogc_percent", "Heap size target percentage.",
		float64(samples[0].Value.Uint64()))
	t.Gauge("go_gc_gomemlimit_bytes", "Go runtime memory limit.",
		float64(samples[1].Value.Uint64()))
	writePauses(t)
}

func writePauses(t *metric.Text) {
	const name = "go_gc_duration_seconds"
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&stats)
	t.Family(name, "Wall-time pause duration of garbage collection cycles.", "summary")
	for i, q := range []string{"0", "0.25", "0.5", "0.75", "1"} {
		t.Sample(name, metric.LabelText("quantile", q), stats.PauseQuantiles[i].Seconds())
	}
	t.Sample(name+"_sum", "", stats.PauseTotal.Seconds())
	t.Sample(name+"_count", "", float64(stats.NumGC))
}
