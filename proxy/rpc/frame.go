package rpc

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
)

// prefix is the size of what stands before each message: a flag and a length.
const prefix = 5

// frameMessage encodes a message of at most so many bytes, with its prefix.
func frameMessage(m proto.Message, most int) ([]byte, error) {
	size := proto.Size(m)
	if size > most {
		return nil, newStatus(ResourceExhausted,
			"the message has %d bytes, more than %d", size, most)
	}
	b := make([]byte, prefix, prefix+size)
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		return nil, causedBy(Internal, fmt.Errorf("marshal: %w", err))
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefix))
	return b, nil
}

// deframer cuts a stream of bytes into messages.
type deframer struct {
	most  int // bytes of a message
	head  [prefix]byte
	nHead int
	want  int    // the length of the message under way, once its head is complete
	msg   []byte // grows with what arrives: a length alone costs no memory
}

// push takes the next bytes and calls emit with each message that they complete. emit may keep it.
func (d *deframer) push(p []byte, emit func([]byte)) *Status {
	for {
		if d.nHead < prefix {
			n := copy(d.head[d.nHead:], p)
			d.nHead += n
			p = p[n:]
			if d.nHead < prefix {
				return nil
			}
			if s := d.begin(); s != nil {
				return s
			}
		}
		n := min(d.want-len(d.msg), len(p))
		d.msg = append(d.msg, p[:n]...)
		p = p[n:]
		if len(d.msg) < d.want {
			return nil
		}
		emit(d.msg)
		d.nHead, d.msg = 0, nil
	}
}

func (d *deframer) begin() *Status {
	if d.head[0] != 0 {
		return newStatus(Internal,
			"the server sent a compressed message (flag %d), though none was accepted", d.head[0])
	}
	n := binary.BigEndian.Uint32(d.head[1:])
	if uint64(n) > uint64(d.most) {
		return newStatus(ResourceExhausted,
			"the server sent a message of %d bytes, more than %d", n, d.most)
	}
	d.want = int(n)
	return nil
}

// partial says whether a message has begun and is not complete.
func (d *deframer) partial() bool { return d.nHead > 0 }

// timeoutValue is the value of grpc-timeout: at most eight digits and a unit. It is rounded up, so
// that the server never gives up first.
func timeoutValue(d time.Duration) string {
	const most = 1e8
	ceil := func(size time.Duration) int64 { return int64((d-1)/size) + 1 } // d is at least 1
	for _, u := range []struct {
		size time.Duration
		name string
	}{
		{time.Nanosecond, "n"}, {time.Microsecond, "u"}, {time.Millisecond, "m"},
		{time.Second, "S"}, {time.Minute, "M"},
	} {
		if n := ceil(u.size); n < most {
			return strconv.FormatInt(n, 10) + u.name
		}
	}
	return strconv.FormatInt(ceil(time.Hour), 10) + "H"
}
