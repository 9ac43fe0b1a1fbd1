package main

import (
	"fmt"
	"time"
)

// fewSeries are those of requests that were not there before, of one route and class.
const fewSeries = 40

// namesEach is how many an attacker makes up: fewer than streams, so that all of them are answered.
const namesEach = 60

// madeUpNames asks for what is the caller's to make up; the proxies must not make series of it
// (CVE-2025-43915).
func madeUpNames() *attack {
	return heavy(&attack{name: "names made up (CVE-2025-43915)", want: served, audit: fewMore,
		once: func(pos *position) result { return result{answer: served, err: askForNames(pos)} }})
}

// fewMore counts the proxies' series, and tells later whether they became many more.
func fewMore(procs []*process) (func() error, error) {
	before, err := countSeries(procs)
	return func() error {
		after, err := countSeries(procs)
		if err == nil && after > before+fewSeries {
			err = fmt.Errorf("%d series became %d", before, after)
		}
		return err
	}, err
}

func askForNames(pos *position) error {
	p, err := pos.greet()
	if err != nil {
		return err
	}
	defer p.nc.Close()
	for i := range namesEach {
		name := fmt.Sprintf("x%d-%d", i, time.Now().UnixNano())
		p.open(p.headers(":method", name, ":scheme", "http", ":authority", name,
			":path", "/"+name), true)
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	until := time.Now().Add(patient(answerTime))
	for ; p.answered() < namesEach; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			return fmt.Errorf("%d of %d requests were answered", p.answered(), namesEach)
		}
	}
	return nil
}

// answered is how many responses have come.
func (p *peer) answered() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.status {
		n += k
	}
	return n
}

func countSeries(procs []*process) (n int, err error) {
	for _, p := range procs {
		all, err := p.scrape()
		if err != nil {
			return 0, err
		}
		n += len(all)
	}
	return n, nil
}
