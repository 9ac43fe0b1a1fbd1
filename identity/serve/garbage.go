package serve

import (
	"os"

	"github.com/tulle-mesh/tulle/proxy/memory"
)

// garbage bounds what a server's garbage takes. Nearly all that it holds are connections that rest,
// so that a collection, of a second for 10,000 proxies, is seldom due whatever GOGC is; GOGC=100
// would give the same again to garbage.
var garbage = memory.Collector{MaxGarbage: 48 << 20, Least: 20, Most: 100}

// LimitGarbage is for a process that is a server of the control plane, when it begins. GOGC in the
// environment wins.
func LimitGarbage() {
	if os.Getenv("GOGC") == "" {
		garbage.Follow()
	}
}
