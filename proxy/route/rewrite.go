package route

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// rewrite changes what a backend is asked for.
type rewrite struct {
	host string // empty: as the caller says
	path *pathModifier
}

func compileRewrite(m *api.Rewrite) (*rewrite, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	if m.GetHost() != "" {
		if err := api.CheckHost(m.Host); err != nil {
			return nil, err
		}
	}
	path, err := compilePathModifier(m.GetPath())
	return &rewrite{m.GetHost(), path}, err
}

// apply changes fields in place. CONNECT stays: what it names is no host of HTTP's.
func (w *rewrite) apply(fields []hpack.HeaderField) {
	if header.Value(fields, ":path") == "" {
		return
	}
	for i := range fields {
		switch f := &fields[i]; f.Name {
		case ":path":
			f.Value = w.path.apply(f.Value)
		case ":authority", "host":
			if w.host != "" {
				f.Value = w.host
			}
		}
	}
}
