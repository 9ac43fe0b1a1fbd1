package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/tulle-mesh/tulle/test/measured"
)

// machine says where and with what a run was made.
func machine() string {
	return fmt.Sprintf("Measured on %s: %s, %d cores, Linux %s, %s.\n",
		time.Now().UTC().Format(time.DateOnly), measured.CPU(), runtime.NumCPU(), measured.Kernel(),
		runtime.Version())
}
