package main

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
)

// limits are what the proxies live by.
var limits = config.DefaultLimits()

// What a row must stay within.
const (
	attackers = 100
	// arrival is the time between two attackers.
	arrival = 4 * time.Millisecond
	// heavyArrival is for those whose flood is of requests, each of which costs the proxies and the
	// application work. It spares who is beside them; where the clock is not judged, only what is
	// held needs it.
	heavyArrival = 10 * time.Millisecond
	// largeRate is what floods of large requests may send, in bytes a second: a hundred attackers
	// send 600 MB.
	largeRate = 32 << 20

	// atOnce is how many of them write at a time.
	atOnce = 4

	growthEach = 1 << 20
	growthAll  = 64 << 20
	// garbage is what one connection's growth cannot be told from: the collector lets the heap grow
	// to 16 MiB before it looks, and to five times what lives after. A hundred attackers say more
	// about one than one does.
	garbage = 24 << 20

	// A row begins when no more than startGrowth is left of the one before: it counts as this
	// one's. One that is tried again waits for calmGrowth.
	startGrowth = 32 << 20
	calmGrowth  = 16 << 20
	calmWait    = 5 * time.Second

	// answerTime is within which an attacker is answered.
	answerTime = time.Second
	// answerSlack is for a machine that is busy with a hundred of them.
	answerSlack = time.Second

	// patience is for a machine whose other work decides about a second.
	patience = 10 * time.Second
	// slowAllowed of a hundred may even then not have been answered when they stop to wait, or be
	// refused where it is crowded.
	slowAllowed = 5
	// A client's p99 may double, and below p99Floor nobody sees the difference from a busy
	// machine's hiccups.
	p99Floor  = 25 * time.Millisecond
	p99Factor = 2
	// pastFactor: what waits for the CPU once past the proxy waits in up to five processes on the
	// way through it.
	pastFactor = 5
	// A row whose only failure is the client's p99, or the growth, is tried again: a busy machine's
	// hiccup does not repeat, an attack's effect does.
	latencyTries = 3

	// callTime is for the caller of a hostile server: the proxy may try another connection, and
	// wait for one.
	callTime = 4 * time.Second

	// tricklersEach come to each slow row: together they must not fill the windows that they share,
	// or only some hold data.
	tricklersEach = 3
	// slowStart is for all of them to be where they stay.
	slowStart = 2 * time.Second

	victimRate   = 200 // requests a second
	baselineTime = 2 * time.Second

	// leftover is how many goroutines more a row may leave than it found: connections to the
	// application that are kept. One for each attacker would be a leak.
	leftover     = 64
	leftoverWait = 10 * time.Second

	// countWait is how long after the last answer the last attacker is counted.
	countWait = 2 * time.Second

	// legalHold is how long what is not forbidden is kept up by a hundred attackers, and aloneHold
	// by one.
	legalHold = 500 * time.Millisecond
	aloneHold = 100 * time.Millisecond
	// serverHold is the same for servers: a call to one may have to wait for it.
	serverHold = 100 * time.Millisecond
)
