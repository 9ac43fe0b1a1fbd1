package registry

import "time"

// Watch is how a source's reading of one kind of thing stands.
type Watch struct {
	Resource string    // the kind, as the source's own users know it
	Last     time.Time // when its newest event arrived; zero before the first
	Failing  bool      // it cannot be read now: what is known of it may be out of date
}
