package sample

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// logged is what f logs at most one a second of, a line for each record.
func logged(f func(*slog.Logger)) []string {
	var b bytes.Buffer
	f(Logger(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{
		Level: slog.LevelInfo,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		},
	}))))
	return strings.Split(strings.TrimSpace(b.String()), "\n")
}

func TestTheFirstIsLoggedThenOneASecondWithTheNumberOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(func(log *slog.Logger) {
			for i := range 2501 {
				log.Info("refused", "from", i)
				if i == 0 {
					log.With("id", "x").Info("failed") // another message has a second of its own
					log.WithGroup("g").Info("failed")
					log.Debug("refused") // is not logged, and not counted
				}
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Minute)
			log.Info("refused", "from", "the last")
		})
		want := []string{
			"msg=refused from=0", "msg=failed id=x", "msg=refused from=1000 omitted=999",
			"msg=refused from=2000 omitted=999", `msg=refused from="the last" omitted=500`,
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(func(log *slog.Logger) {
			for i := range 10 * maxMessages {
				log.Info(fmt.Sprint("message ", i))
			}
		})
		if len(got) != maxMessages+1 {
			t.Errorf("%d lines, want %d", len(got), maxMessages+1)
		}
	})
}
