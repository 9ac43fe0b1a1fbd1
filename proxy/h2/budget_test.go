package h2

import (
	"errors"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var leaveRequest = []hpack.HeaderField{
	{Name: ":method", Value: "GET"},
	{Name: ":scheme", Value: "http"},
	{Name: ":path", Value: "/"},
}

func (s *script) request(t *testing.T) *Stream {
	st, err := s.conn.OpenStream(leaveRequest, true, &scriptSink{s, 0})
	if err != nil {
		t.Fatal(err)
	}
	st.Flush()
	synctest.Wait()
	return st
}

func (s *script) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames, s.events = nil, nil
}

// A server would end a connection with so many resets, and with it the requests of others.
func TestClientLeavesBeforeItsResetsAreTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, []string{"client"})
		other := s.request(t)
		for range resetsBeforeLeaving {
			s.request(t).Reset(CodeCancel)
		}
		s.forget()
		s.request(t).Reset(CodeCancel)
		synctest.Wait()
		s.expect(&s.events, "the last reset", "goaway")
		if _, err := s.conn.OpenStream(leaveRequest, true, &scriptSink{s, 0}); !errors.Is(
			err,
			ErrGoingAway,
		) {
			t.Errorf("opened after that: %v", err)
		}
		s.sendOne("HEADERS", parseArgs([]string{"1", "end", ":status=200"}))
		synctest.Wait()
		s.expect(&s.events, "the other request", "0 headers end :status=200")
		s.expect(&s.events, "the end", "close <nil>")
		if !other.state.in(goneStates) {
			t.Error("the other request is not over")
		}
		s.forget()
		s.finish()
	})
}

// What a server still says about requests that we gave up is no chatter of its own making.
func TestLateAnswersAreNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, []string{"client"})
		for range 200 {
			cut, whole := s.request(t), s.request(t)
			cut.Reset(CodeCancel)
			for range 15 {
				s.fr.WriteWindowUpdate(cut.id, 1)
			}
			block := s.encode([]hpack.HeaderField{{Name: ":status", Value: "200"}})
			s.fr.WriteHeaders(
				http2.HeadersFrameParam{
					StreamID:      whole.id,
					BlockFragment: block,
					EndStream:     true,
					EndHeaders:    true,
				},
			)
			synctest.Wait()
		}
		if n := s.conn.Active(); n != 0 {
			t.Errorf("%d streams left", n)
		}
		s.mu.Lock()
		last := s.events[len(s.events)-1]
		s.mu.Unlock()
		if last != "0 headers end :status=200" {
			t.Errorf("the last event is %q", last)
		}
		s.forget()
		s.finish()
	})
}
