package h1

import "bytes"

const (
	// maxChunkLine bounds one chunk-size line. Signed uploads, the only extensions in the wild,
	// need 90 bytes.
	maxChunkLine = 1 << 10
	// maxChunkExcess bounds the bytes of chunk-size lines beyond what the data that they announce
	// pays for, over a whole body. One-byte chunks with long extensions make a peer work for
	// nothing (CVE-2023-39326).
	maxChunkExcess = 16 << 10
	// freeChunkLine is how many bytes a line may take without being paid for by data.
	freeChunkLine = 16
	// maxChunkDigits keeps a size below 2^60.
	maxChunkDigits = 15
)

// chunks decodes the chunked coding (RFC 9112 §7.1) up to the last chunk; trailers are a header
// section of their own.
type chunks struct {
	left   int64
	excess int64
	state  chunkState
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd
	chunkLast
)

// next looks at b. The first skip bytes are framing, and the n bytes after them are data, at most
// limit of them; the caller discards both. If both are zero more input is needed, or the last chunk
// was seen.
func (d *chunks) next(b []byte, limit int) (skip, n int, err error) {
	for d.state != chunkLast {
		switch d.state {
		case chunkSize:
			i, err := d.size(b[skip:])
			if err != nil || i == 0 {
				return skip, 0, err
			}
			skip += i
		case chunkData:
			n = int(min(d.left, int64(len(b)-skip), int64(limit)))
			if d.left -= int64(n); d.left == 0 {
				d.state = chunkEnd
			}
			return skip, n, nil
		case chunkEnd:
			i, err := d.end(b[skip:])
			if err != nil || i == 0 {
				return skip, 0, err
			}
			skip += i
		}
	}
	return skip, 0, nil
}

func (d *chunks) size(b []byte) (int, error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 && len(b) <= maxChunkLine {
		return 0, nil
	}
	if i < 0 || i > maxChunkLine {
		return 0, errChunkLine
	}
	if i == 0 || b[i-1] != '\r' {
		return 0, errBareLF
	}
	size, digits := chunkLength(b[:i-1])
	if digits == 0 || digits > maxChunkDigits {
		return 0, errChunkSize
	}
	if err := extension(b[digits : i-1]); err != nil {
		return 0, err
	}
	d.excess = max(0, d.excess+int64(i)-freeChunkLine-size)
	if d.excess > maxChunkExcess {
		return 0, errChunkLine
	}
	d.left, d.state = size, chunkData
	if size == 0 {
		d.state = chunkLast
	}
	return i + 1, nil
}

func chunkLength(b []byte) (size int64, digits int) {
	for digits < len(b) && digits <= maxChunkDigits && isHex(b[digits]) {
		size = size<<4 | int64(unhex(b[digits]))
		digits++
	}
	return size, digits
}

// extension checks a chunk extension, which is then dropped unread. Parsers that take anything
// after a size come to differ about where the line ends.
func extension(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if b[0] != ';' {
		return errChunkSize
	}
	if !isText(b) {
		return errChunkLine
	}
	return nil
}

func (d *chunks) end(b []byte) (int, error) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, errChunkEnd
	}
	if len(b) < 2 {
		return 0, nil
	}
	d.state = chunkSize
	return 2, nil
}
