package balance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
)

// HashKey is what of a request a consistent hash goes by. One of Header, Query, Cookie and Source
// is set.
type HashKey struct {
	Header string // lower case
	Query  string
	Cookie string
	Source bool // the caller's address
	// Of a cookie: how long whoever has none is given one for, and for which paths. 0: nobody is;
	// empty: it does not say.
	TTL  time.Duration
	Path string
}

const (
	// maxHashKeys bounds what is looked for in each request.
	maxHashKeys = 16
	// maxCookieLife is as long as browsers keep a cookie (RFC 6265bis, section 5.5).
	maxCookieLife = 400 * 24 * time.Hour
)

func compileKeys(list []*api.HashKey) ([]HashKey, error) {
	if len(list) == 0 {
		return nil, errors.New("a consistent hash without a key: every request would be without")
	}
	if len(list) > maxHashKeys {
		return nil, fmt.Errorf("a consistent hash of %d keys: %d are looked for at most",
			len(list), maxHashKeys)
	}
	keys := make([]HashKey, len(list))
	for i, m := range list {
		var err error
		if keys[i], err = compileKey(m); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func compileKey(m *api.HashKey) (HashKey, error) {
	switch key := m.GetKey().(type) {
	case *api.HashKey_Header:
		return HashKey{Header: key.Header}, checkHeader(key.Header)
	case *api.HashKey_Query:
		if key.Query == "" {
			return HashKey{}, errors.New("a hash key that is a query parameter without a name")
		}
		return HashKey{Query: key.Query}, nil
	case *api.HashKey_Cookie:
		return compileCookie(key.Cookie)
	case *api.HashKey_Source:
		return HashKey{Source: true}, nil
	}
	return HashKey{}, errors.New("a hash key that this proxy does not know")
}

func checkHeader(name string) error {
	if !header.IsToken(name) {
		return fmt.Errorf("the hash key %q is not the name of a header in lower case", name)
	}
	if header.Reserved(name) {
		return fmt.Errorf("the hash key %q is the mesh's own header, which callers do not send",
			name)
	}
	return nil
}

func compileCookie(m *api.Cookie) (HashKey, error) {
	name, path, ttl := m.GetName(), m.GetPath(), m.GetTtlMs()
	switch {
	case !header.IsToken(strings.ToLower(name)):
		return HashKey{}, fmt.Errorf("the hash key %q is not the name of a cookie", name)
	case path != "" && (path[0] != '/' || strings.ContainsRune(path, ';') || !header.IsValue(path)):
		return HashKey{}, fmt.Errorf("the cookie %q's path %q is not one", name, path)
	case ttl > uint64(maxCookieLife.Milliseconds()):
		return HashKey{}, fmt.Errorf("the cookie %q's lifetime of %d ms is more than %v",
			name, ttl, maxCookieLife)
	}
	return HashKey{Cookie: name, Path: path, TTL: time.Duration(ttl) * time.Millisecond}, nil
}
