package page

import (
	"fmt"
	"testing"
	"time"
)

// endpoints are as each proxy that calls them sees them: of three one is ejected. The proxies are
// asked only while somebody looks.
func endpoints(t *testing.T, b *tab, base string) {
	t.Helper()
	b.open(base+"/service/shop/delivery",
		`document.querySelectorAll('table[aria-label=Endpoints] tbody tr').length >= 6 &&
			document.querySelector('table[aria-label=Endpoints] .state.bad')`)
	eval[bool](b, `(() => {
		window.asked = 0;
		const ask = fetch;
		window.fetch = (what, ...more) => {
			if (String(what).startsWith('/api/endpoints')) window.asked++;
			return ask(what, ...more);
		};
		return true;
	})()`)
	b.wait("the next answer", `asked >= 2`, 15*time.Second)
	seen := func(yes bool) {
		eval[bool](b, fmt.Sprintf(`(Object.defineProperty(document, 'hidden',
			{ value: %t, configurable: true }),
			document.dispatchEvent(new Event('visibilitychange')))`, !yes))
	}
	seen(false)
	more := eval[int](b, `new Promise((done) => setTimeout(() => {
		const before = window.asked;
		setTimeout(() => done(window.asked - before), 8000);
	}, 4000))`)
	if more != 0 {
		t.Errorf("while nobody looked the proxies were asked %d times", more)
	}
	seen(true)
	b.wait("the next answer", `asked >= 3`, 2*time.Second)
}
