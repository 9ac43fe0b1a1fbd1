package tunnel

import "github.com/tulle-mesh/tulle/proxy/detect"

// Words are what has been said on a connection so far.
type Words struct {
	first detect.First
	rest  []byte       // of first, what the server has not been given
	line  *detect.Line // of first, the line that has not ended; nil: none that matters
	// To be asked for more; nil: first is all that is read before it is known what is spoken.
	caller *detect.Reader
	answer []byte // the server's, who spoke before the caller was understood
	left   error  // why the server said nothing more; nil: it may yet
}

// Heard are the words of a caller who spoke before anybody else.
func Heard(f detect.First) Words {
	return Words{first: f, rest: f.Bytes, line: detect.Follow(f.Bytes)}
}

// Declared are words on a port that is opaque because somebody said so: they are nobody's to judge.
func Declared(f detect.First) Words { return Words{first: f, rest: f.Bytes} }

func (w Words) http() bool { return w.caller == nil && w.first.Protocol.IsHTTP() }

// none reports whether nobody has said anything.
func (w Words) none() bool {
	return w.first.Silent() && len(w.answer) == 0 && (w.caller == nil || !w.caller.Said())
}
