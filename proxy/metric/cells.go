package metric

import (
	"sync"
	"sync/atomic"
)

// maxCachedCells bounds Cells: more than all the routes that a profile may have, in each protocol,
// for what is beyond it all is resolved again and again. After each change of a route its rules are
// new, and the cells of the old ones are dropped.
const maxCachedCells = 512

// Cells remembers resolved cells by a key of the caller's. It is read without a lock, and copied to
// be changed. The zero value is ready.
type Cells[K comparable] struct {
	mu sync.Mutex // serialises writers
	m  atomic.Pointer[map[K]*Cell]
}

// Get returns the cell of k. The first time it is resolved.
func (c *Cells[K]) Get(k K, resolve func() *Cell) *Cell {
	if m := c.m.Load(); m != nil {
		if cell := (*m)[k]; cell != nil {
			return cell
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[K]*Cell{}
	if m := c.m.Load(); m != nil && len(*m) < maxCachedCells {
		for k, v := range *m {
			next[k] = v
		}
	}
	cell := resolve()
	next[k] = cell
	c.m.Store(&next)
	return cell
}
