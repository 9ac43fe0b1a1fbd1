package route

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&api.RetryBudget{RetryRatio: 0.2, MinRetriesPerSecond: 1, TtlMs: 10000})
		for range 100 {
			b.Deposit(time.Now())
		}
		spent := 0
		for b.Withdraw(time.Now()) {
			spent++
		}
		if spent != 30 { // a fifth of a hundred, and one for each of ten seconds
			t.Errorf("%d retries for 100 requests, want 30", spent)
		}
		time.Sleep(11 * time.Second)
		for spent = 0; b.Withdraw(time.Now()); {
			spent++
		}
		if spent != 10 {
			t.Errorf("%d retries after the requests were forgotten, want the minimum's 10", spent)
		}
	})
}
