package viz

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/viz/api"
)

// workload is who runs something: {shop, deployment, web, web-5d8f-x2x}.
type workload struct {
	namespace, kind, name, pod string
}

func workloadOf(w *api.Workload) workload {
	return workload{
		printable(w.GetNamespace()), strings.ToLower(printable(w.GetKind())),
		printable(w.GetName()), printable(w.GetPod()),
	}
}

// labels are what a series counts. They never change, and are the same for the life of a series.
type labels struct {
	direction   api.Direction
	authority   string
	namespace   string
	service     string
	route       string
	backend     string
	peer        workload
	peerID      string
	ownID       string
	security    api.Security
	protocol    string
	peerAddress string
	port        uint32
}

func labelsOf(l *api.Labels) labels {
	return labels{
		direction: l.Direction, authority: printable(l.Authority),
		namespace: printable(l.Namespace), service: printable(l.Service),
		route: printable(l.Route), backend: printable(l.Backend), peer: workloadOf(l.Peer),
		peerID: printable(l.PeerId),
		ownID:  printable(l.OwnId), security: l.Security, protocol: printable(l.Protocol),
		peerAddress: printable(l.PeerAddress), port: l.Port,
	}
}

func (l *labels) inbound() bool  { return l.direction == api.Direction_DIRECTION_INBOUND }
func (l *labels) outbound() bool { return l.direction == api.Direction_DIRECTION_OUTBOUND }

// target is the destination's own name: its service where there is one, else what was asked for.
func (l *labels) target() string {
	if l.service != "" {
		return l.service
	}
	return l.authority
}

// size is roughly what the labels cost in memory where nobody else has any of them.
func (l *labels) size() int {
	n := 256
	for _, s := range l.texts() {
		n += len(*s)
	}
	return n
}

// texts are all of its texts, where they stand.
func (l *labels) texts() []*string {
	return []*string{
		&l.authority, &l.namespace, &l.service, &l.route, &l.backend, &l.peer.namespace,
		&l.peer.kind, &l.peer.name, &l.peer.pod,
		&l.peerID, &l.ownID, &l.protocol, &l.peerAddress,
	}
}

// whole are the labels of what all endpoints of the peer's workload have together.
func (l *labels) whole() labels {
	out := *l
	out.peer.pod = ""
	return out
}

// printable replaces what could move a terminal's cursor or hide in a page: labels end up on
// people's screens.
func printable(s string) string {
	clean := strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || r == utf8.RuneError
	}) < 0
	if clean {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// securityNames are the words of the query API.
var securityNames = map[api.Security]string{
	api.Security_SECURITY_MTLS:               "mtls",
	api.Security_SECURITY_PLAINTEXT_UNMESHED: "plaintext-unmeshed",
	api.Security_SECURITY_PLAINTEXT_SKIPPED:  "plaintext-skipped",
	api.Security_SECURITY_TLS_PASSTHROUGH:    "tls-passthrough",
	api.Security_SECURITY_LOOPBACK:           "loopback",
}

func securityName(s api.Security) string {
	if name := securityNames[s]; name != "" {
		return name
	}
	return "unknown"
}

// insecureReasons say in words why a connection is not the mesh's mTLS.
var insecureReasons = map[api.Security]string{
	api.Security_SECURITY_PLAINTEXT_SKIPPED: "plaintext: the port skips the proxy",
	api.Security_SECURITY_TLS_PASSTHROUGH:   "the application's own TLS, passed through",
	api.Security_SECURITY_LOOPBACK:          "loopback: never leaves the pod",
}

func insecureReason(l *labels) string {
	if l.security == api.Security_SECURITY_PLAINTEXT_UNMESHED {
		if l.inbound() {
			return "plaintext: the caller has no proxy"
		}
		return "plaintext: the destination has no proxy"
	}
	if reason := insecureReasons[l.security]; reason != "" {
		return reason
	}
	return "the proxy did not say"
}

// accountOf takes a SPIFFE ID of ours apart. An ID that is not one is shown as it is.
func accountOf(id string) (ns, account string, ok bool) {
	parsed, err := spiffe.ParseWorkload(id)
	if err != nil {
		return "", "", false
	}
	ns, account, err = spiffe.Workload(parsed)
	return ns, account, err == nil
}
