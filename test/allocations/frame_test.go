//go:build !race

package allocations

import (
	"bufio"
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
)

const (
	frameHeader = 9
	flagEnd     = 1 // END_STREAM, or a SETTINGS' or PING's ACK
)

// nextFrame's payload is the reader's until the next call.
func nextFrame(
	r *bufio.Reader,
) (kind http2.FrameType, flags byte, stream uint32, payload []byte, err error) {
	h, err := r.Peek(frameHeader)
	if err != nil {
		return 0, 0, 0, nil, err
	}
	size := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	kind, flags, stream = http2.FrameType(h[3]), h[4], binary.BigEndian.Uint32(h[5:])
	whole, err := r.Peek(frameHeader + size)
	if err != nil {
		return 0, 0, 0, nil, fmt.Errorf("%v of %d bytes: %w", kind, size, err)
	}
	_, err = r.Discard(frameHeader + size)
	return kind, flags, stream, whole[frameHeader:], err
}
