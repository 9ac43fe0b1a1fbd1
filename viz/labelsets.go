package viz

import "hash/maphash"

// labelSets keep equal labels once, and equal texts of different ones: the pods of a workload call
// the same services, and all that is said of a service names it. The store's lock guards them.
type labelSets struct {
	seed  maphash.Seed
	sets  map[uint64]*sharedLabels // those with the same hash are a list
	texts map[string]*sharedText
	size  int // of all, in bytes
}

// sharedLabels are what any number of series have alike.
type sharedLabels struct {
	labels
	holders int
	next    *sharedLabels
}

type sharedText struct {
	text    string
	holders int
}

const (
	// setSize is what a set of labels costs beside its texts, with its place in a map.
	setSize = 288
	// textSize is the same of a text.
	textSize = 80
)

func newLabelSets() labelSets {
	return labelSets{seed: maphash.MakeSeed(), sets: make(map[uint64]*sharedLabels),
		texts: make(map[string]*sharedText)}
}

// hold returns the store's own of some labels.
func (t *labelSets) hold(l *labels) *labels {
	hash := maphash.Comparable(t.seed, *l)
	one := t.sets[hash]
	for one != nil && one.labels != *l {
		one = one.next
	}
	if one == nil {
		one = &sharedLabels{labels: *l, next: t.sets[hash]}
		for _, text := range one.texts() {
			*text = t.holdText(*text)
		}
		t.sets[hash] = one
		t.size += setSize
	}
	one.holders++
	return &one.labels
}

// release lets go of labels that hold returned. The last one to do so takes them away.
func (t *labelSets) release(l *labels) {
	hash := maphash.Comparable(t.seed, *l)
	first := t.sets[hash]
	at := &first
	for *at != nil && &(*at).labels != l {
		at = &(*at).next
	}
	one := *at
	if one.holders--; one.holders > 0 {
		return
	}
	if *at = one.next; first == nil {
		delete(t.sets, hash)
	} else {
		t.sets[hash] = first
	}
	for _, text := range one.texts() {
		t.releaseText(*text)
	}
	t.size -= setSize
}

func (t *labelSets) holdText(s string) string {
	if s == "" {
		return ""
	}
	one := t.texts[s]
	if one == nil {
		one = &sharedText{text: s}
		t.texts[s] = one
		t.size += textSize + len(s)
	}
	one.holders++
	return one.text
}

func (t *labelSets) releaseText(s string) {
	if s == "" {
		return
	}
	one := t.texts[s]
	if one.holders--; one.holders == 0 {
		delete(t.texts, s)
		t.size -= textSize + len(s)
	}
}
