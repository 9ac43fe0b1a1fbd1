package output

import (
	"bytes"
	"sync"
)

// Tail keeps the last of what a process says: a panic is at the end.
type Tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 8 << 10

func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(p), nil
}

func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
