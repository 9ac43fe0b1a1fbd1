package main

import "github.com/tulle-mesh/tulle/proxy/memory"

// collector trades memory for CPU. The live heap of a busy proxy is a few MB, and to let the heap
// grow to three times that costs twice those MB. GOGC=300 was measured when a request left 1 KB:
// the p99 over two hops of HTTP/1 was some 3 % lower, but HTTP/2 over one hop lost 5 % of its
// requests, because a larger heap leaves the processor's cache. A live heap is large when many
// callers wait. With GOGC=200 most of the memory would be garbage then, and an attack by a hundred
// connections would cost three times what it holds.
//
// GOGC and GOMEMLIMIT in the environment win.
var collector = memory.Collector{
	MaxGarbage: 12 << 20, // of a heap between 6 and 24 MiB
	Least:      50, Most: 200,
}
