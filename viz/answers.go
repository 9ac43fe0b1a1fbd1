package viz

import (
	"encoding/json"
	"sync"
	"time"
)

// maxAnswers is how many answers are remembered: those that several who look at a page ask for.
const maxAnswers = 8

// answerCache remembers what was answered in a second, where proxies report less often than that:
// then it is as true at the end of the second. The zero value remembers nothing yet.
type answerCache struct {
	mu     sync.Mutex // guards what follows
	second int64      // since 1970
	all    map[question]*remembered
}

// question is a path, and what is asked there.
type question struct {
	path string
	what any // comparable
}

// remembered is an answer, once done is closed.
type remembered struct {
	done chan struct{}
	line []byte
	err  error
}

// get is the answer to a question, found now unless somebody else has, or is about to.
func (a *answerCache) get(now time.Time, q question, find func() ([]byte, error)) ([]byte, error) {
	one, mine := a.at(now, q)
	if mine {
		a.find(q, one, find)
	}
	<-one.done
	return one.line, one.err
}

// at is where an answer is, or is to be, and whether the caller is the one to find it.
func (a *answerCache) at(now time.Time, q question) (one *remembered, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if second := now.Unix(); second != a.second || len(a.all) >= maxAnswers {
		a.second, a.all = second, make(map[question]*remembered)
	}
	if one = a.all[q]; one != nil {
		return one, false
	}
	one = &remembered{done: make(chan struct{})}
	a.all[q] = one
	return one, true
}

// find finds an answer. A failure is told to those who wait, and not remembered.
func (a *answerCache) find(q question, one *remembered, find func() ([]byte, error)) {
	defer close(one.done)
	if one.line, one.err = find(); one.err == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all[q] == one {
		delete(a.all, q)
	}
}

// answerLine is an answer as a line of JSON.
func answerLine[Q comparable, T any](
	v *Server, path string, q Q, ask func(time.Time, Q) (*T, error),
) ([]byte, error) {
	now := time.Now()
	find := func() ([]byte, error) {
		out, err := ask(now, q)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
	if v.interval() <= time.Second {
		return find()
	}
	return v.answers.get(now, question{path, q}, find)
}
