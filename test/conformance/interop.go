package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// interopCases are those of grpc-go's interop_test.sh: all but the ones that need a cloud's
// credentials.
func interopCases() []string {
	return []string{"empty_unary", "large_unary", "client_streaming", "server_streaming",
		"ping_pong", "empty_stream", "timeout_on_sleeping_server", "cancel_after_begin",
		"cancel_after_first_response", "status_code_and_message", "special_status_message",
		"custom_metadata", "unimplemented_method", "unimplemented_service", "orca_per_rpc",
		"orca_oob", "rpc_soak", "channel_soak"}
}

// interopTimeout is for one case, on a busy machine; the soaks take longest.
const interopTimeout = 3 * time.Minute

func (m *mesh) startInteropServer(ctx context.Context) (string, error) {
	return m.placeProcess(ctx, filepath.Join(m.bin, "interop", "server"),
		func(addr string) ([]string, error) { return []string{"--port", portOf(addr)}, nil })
}

func runInterop(ctx context.Context, m *mesh, r *report) error {
	for _, name := range interopCases() {
		out, err := m.interop(ctx, name)
		why := "through two hops"
		if err != nil {
			why = err.Error() + ": " + lastLine(out)
		}
		r.check(err == nil, name, "%s", why)
	}
	return nil
}

func (m *mesh) interop(ctx context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, interopTimeout)
	defer cancel()
	args := []string{"--server_host", "127.0.0.1", "--server_port", portOf(m.outbound("grpc")),
		"--test_case", name, "--service_config_json",
		`{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`,
		"--soak_iterations", "200", "--soak_overall_timeout_seconds", "150",
		"--soak_per_iteration_max_acceptable_latency_ms", "5000"}
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, "interop", "client"), args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
