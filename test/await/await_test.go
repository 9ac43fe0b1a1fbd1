package await

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// failing is a test that notes its end instead of failing.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// What does not come fails the test, with the name of what was awaited, the stacks of everybody and
// the processes that were started.
func TestWhatDoesNotComeIsNamed(t *testing.T) {
	child := exec.Command("sleep", "1234")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	synctest.Test(t, func(t *testing.T) {
		f := &failing{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			Receive(f, "the answer", make(chan int))
		}()
		<-done
		for _, want := range []string{"the answer", "goroutine ", "await.Receive", "sleep 1234"} {
			if !strings.Contains(f.said, want) {
				t.Errorf("no %q in %.200q", want, f.said)
			}
		}
	})
}

func TestWhatComesIsReturned(t *testing.T) {
	c := make(chan int, 1)
	c <- 7
	if v := Receive(t, "a number", c); v != 7 {
		t.Errorf("got %d", v)
	}
	Return(t, "nothing", func() {})
}
