package serve

import (
	"net/http"
	"runtime/pprof"
)

// StacksPath is where a server that answers questions on its pod's loopback tells what it is doing.
const StacksPath = "/debug/goroutines"

// Stacks answers with the stack of every goroutine, for who may forward a port to the pod. It
// belongs on a loopback address.
func Stacks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	pprof.Lookup("goroutine").WriteTo(w, 2) // who does not read any more needs no error
}
