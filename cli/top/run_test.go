package top

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/viz"
)

// terminal is a pseudo-terminal: the page's end, and what a user would see of it.
type terminal struct {
	t      *testing.T
	user   *os.File
	page   *os.File
	mu     sync.Mutex
	seen   strings.Builder // guarded by mu
	wake   chan struct{}
	closed chan struct{}
}

func openTerminal(t *testing.T) *terminal {
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(page.Fd()), unix.TIOCSWINSZ,
		&unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, user: user, page: page, wake: make(chan struct{}, 1),
		closed: make(chan struct{})}
	go term.read()
	t.Cleanup(func() {
		page.Close()
		user.Close()
		<-term.closed
	})
	return term
}

func (m *terminal) read() {
	defer close(m.closed)
	b := make([]byte, 4096)
	for {
		n, err := m.user.Read(b)
		m.mu.Lock()
		m.seen.Write(b[:n])
		m.mu.Unlock()
		select {
		case m.wake <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (m *terminal) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen.String()
}

func (m *terminal) await(want string) {
	m.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for !strings.Contains(m.text(), want) {
		select {
		case <-m.wake:
		case <-deadline.C:
			m.t.Fatalf("the terminal never showed %q; it shows %q", want, m.text())
		}
	}
}

func (m *terminal) modes() unix.Termios {
	modes, err := unix.IoctlGetTermios(int(m.page.Fd()), unix.TCGETS)
	if err != nil {
		m.t.Fatal(err)
	}
	return *modes
}

// start runs a page on the terminal.
func (m *terminal) start(ctx context.Context, environ ...string) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{
			Ask:      func(context.Context, viz.Query) (*viz.Top, error) { return shop(), nil },
			Interval: 250 * time.Millisecond, In: m.page, Out: m.page,
			Environ: append([]string{"TERM=xterm-256color"}, environ...),
		})
	}()
	return done
}

func (m *terminal) finish(done <-chan error) {
	m.t.Helper()
	select {
	case err := <-done:
		if err != nil {
			m.t.Errorf("the page ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		m.t.Fatal("the page did not end")
	}
}

const (
	enterScreen = "\x1b[?1049h"
	leaveScreen = "\x1b[?1049l"
	red         = "\x1b[31m"
)

// Every way out gives the terminal back as it was.
func TestTerminalIsGivenBack(t *testing.T) {
	for name, leave := range map[string]func(*terminal, context.CancelFunc){
		"q":       func(m *terminal, _ context.CancelFunc) { m.user.WriteString("q") },
		"ctrl+c":  func(m *terminal, _ context.CancelFunc) { m.user.WriteString("\x03") },
		"context": func(_ *terminal, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			m := openTerminal(t)
			before := m.modes()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := m.start(ctx)
			m.await("inventory")
			if m.modes() == before {
				t.Error("the page did not take the terminal")
			}
			leave(m, cancel)
			m.finish(done)
			m.await(leaveScreen)
			if got := m.modes(); got != before {
				t.Errorf("the terminal's modes are %+v, were %+v", got, before)
			}
			text := m.text()
			if !strings.Contains(text, enterScreen) || !strings.Contains(text, "\x1b[?25h") {
				t.Errorf("the screen or the cursor was not given back: %q", text)
			}
		})
	}
}

func TestColour(t *testing.T) {
	for _, c := range []struct {
		environ string
		colour  bool
	}{{"COLORTERM=", true}, {"NO_COLOR=1", false}} {
		m := openTerminal(t)
		done := m.start(t.Context(), c.environ)
		m.await("inventory")
		m.user.WriteString("q")
		m.finish(done)
		m.await(leaveScreen)
		if got := strings.Contains(m.text(), red); got != c.colour {
			t.Errorf("%s: red is %v in %q", c.environ, got, m.text())
		}
	}
}

func TestKeysOnATerminal(t *testing.T) {
	m := openTerminal(t)
	done := m.start(t.Context())
	m.await("inventory")
	m.user.WriteString("/ok<95\r")
	m.await("filter ok<95 (1 of 4)")
	m.user.WriteString(" ")
	m.await("paused")
	m.user.WriteString("q")
	m.finish(done)
}
