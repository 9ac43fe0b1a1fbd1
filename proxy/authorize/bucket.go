package authorize

import (
	"errors"
	"hash/maphash"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// maxBuckets bounds the buckets of one limit, some 120 bytes each: callers choose headers and
// paths. The one that was least recently asked for, by a request that was refused too, is forgotten
// first. A forgotten bucket is full when its key comes back: whoever has thousands of values to
// choose from has a bucket for each anyhow.
const maxBuckets = 8192

// buckets are those of one limit. They outlive it where the next one is about the same. All
// methods need the lock of the Limits.
type buckets struct {
	began time.Time // times are since then, by the monotonic clock
	seed  maphash.Seed
	// The theoretical arrival times, by the hash of a bucket's keys: no value of a header is kept,
	// however long. The seed is secret, so nobody can choose values that share a bucket; that some
	// two of maxBuckets do by chance has a probability of 2 in 10^12.
	tats *lru.LRU[uint64, time.Duration]
}

func newBuckets() *buckets {
	tats, _ := lru.NewLRU[uint64, time.Duration](maxBuckets, nil) // the size is positive: no error
	return &buckets{seed: maphash.MakeSeed(), tats: tats}
}

// sinceLocked is a time as the buckets know it.
func (b *buckets) sinceLocked(now time.Time) time.Duration {
	if b.began.IsZero() {
		b.began = now
	}
	return now.Sub(b.began)
}

// getLocked returns a bucket's theoretical arrival time; of one that is not known, that it is full.
func (b *buckets) getLocked(bucket uint64) time.Duration {
	tat, _ := b.tats.Get(bucket)
	return tat
}

func (b *buckets) setLocked(bucket uint64, tat time.Duration) { b.tats.Add(bucket, tat) }

// bucketOf names the bucket of a request.
func (l *Limit) bucketOf(who *Caller, req []hpack.HeaderField) uint64 {
	if len(l.keys) == 1 {
		return maphash.String(l.buckets.seed, l.keys[0].of(who, req))
	}
	var h maphash.Hash
	h.SetSeed(l.buckets.seed)
	for i := range l.keys {
		h.WriteString(l.keys[i].of(who, req))
		h.WriteByte(0) // which is in no header, path or ID
	}
	return h.Sum64()
}

// key is a part of a request that tells its bucket.
type key struct {
	kind   keyKind
	header string
}

type keyKind uint8

const (
	keyIdentity keyKind = iota
	keyHeader
	keyPath
)

func compileKey(m *api.RateKey) (key, error) {
	if err := api.Understood(m); err != nil {
		return key{}, err
	}
	switch k := m.Key.(type) {
	case *api.RateKey_Identity:
		return key{kind: keyIdentity}, api.Understood(k.Identity)
	case *api.RateKey_Path:
		return key{kind: keyPath}, api.Understood(k.Path)
	case *api.RateKey_Header:
		if k.Header == "" {
			return key{}, errors.New("a header without a name")
		}
		return key{keyHeader, k.Header}, nil
	}
	return key{}, errors.New("a key of a kind that this proxy does not know")
}

// of is the key's value. Of a header that comes several times the first counts.
func (k *key) of(who *Caller, req []hpack.HeaderField) string {
	switch k.kind {
	case keyIdentity:
		return who.ID
	case keyHeader:
		return header.Value(req, k.header)
	}
	path, _, _ := strings.Cut(header.Value(req, ":path"), "?")
	return path
}
