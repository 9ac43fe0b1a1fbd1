package explain

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// treat says what a rule makes of the request, beside where it goes.
func (e *explainer) treat(a *discover.Answer, rule *route.Rule, m *api.HTTPRule) {
	if words := filterWords(m.GetFilters()); words != "" {
		e.say(StageFilters, words, ruleOf(m.Origin, "", "filters")...)
	}
	e.faults(rule, m)
	says, by := "none: it may take as long as it likes", []Object(nil)
	if rule.Request > 0 || rule.Try > 0 {
		says, by = timeoutWords(rule), ruleOf(m.Origin, "timeout", "timeouts")
	}
	e.say(StageTimeouts, says, by...)
	e.retries(a, rule, m)
}

func timeoutWords(rule *route.Rule) string {
	var all []string
	if rule.Request > 0 {
		all = append(all, fmt.Sprintf("%s for the request, its tries included", rule.Request))
	}
	if rule.Try > 0 {
		all = append(all, fmt.Sprintf("%s for each try", rule.Try))
	}
	return strings.Join(all, ", ")
}

// filterWords name what filters do. Values of headers are nobody's to read here.
func filterWords(list []*api.Filter) string {
	var all []string
	for _, f := range list {
		switch f := f.Filter.(type) {
		case *api.Filter_RequestHeaders:
			all = append(all, "changes the request's headers "+headerNames(f.RequestHeaders))
		case *api.Filter_ResponseHeaders:
			all = append(all, "changes the response's headers "+headerNames(f.ResponseHeaders))
		case *api.Filter_Rewrite:
			all = append(all, "rewrites where the backend is asked for it")
		case *api.Filter_Mirror:
			all = append(all, fmt.Sprintf("copies %d of %d to %s", f.Mirror.GetNumerator(),
				f.Mirror.GetDenominator(), f.Mirror.GetCluster()))
		case *api.Filter_Cors:
			all = append(all, "answers what pages of other origins may do (CORS)")
		}
	}
	return strings.Join(all, "; ")
}

func headerNames(m *api.HeaderModifier) string {
	var all []string
	for _, h := range append(m.GetSet(), m.GetAdd()...) {
		all = append(all, h.GetName())
	}
	return strings.Join(append(all, m.GetRemove()...), ", ")
}

// faults says which faults are for the request. They are the caller's proxy's to commit.
func (e *explainer) faults(rule *route.Rule, m *api.HTTPRule) {
	by := e.Told.users(crd.FaultInjectionKind, "", "")
	if len(by) == 0 {
		by = ruleOf(m.Origin, "", "filters") // by a reference of the rule's
	}
	for i, f := range rule.Faults {
		if !f.Means(e.head, e.from.Identity, e.Now) {
			continue
		}
		about := m.GetFaults()[i]
		until := time.UnixMilli(int64(about.UntilMs)).UTC().Format(time.RFC3339)
		if about.DelayMs > 0 && about.DelayShare > 0 {
			e.say(StageFaults, fmt.Sprintf("%s are delayed by %s, until %s",
				percent(about.DelayShare), millis(about.DelayMs), until), by...)
		}
		if about.Status > 0 && about.AbortShare > 0 {
			was := e.share
			e.share = float64(about.AbortShare) / 1e6
			e.fail(Step{Stage: StageFaults, By: by, Says: fmt.Sprintf(
				"%s are answered with %d on purpose, until %s", percent(about.AbortShare),
				about.Status, until)}, outcome.FaultInjected, int(about.Status),
				"meshctl fault clear, or wait until it ends by itself")
			e.share = was
		}
	}
}

func percent(ofMillion uint32) string { return fmt.Sprintf("%g %%", float64(ofMillion)/1e4) }

func millis(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

// retries says whether the request is tried again.
func (e *explainer) retries(a *discover.Answer, rule *route.Rule, m *api.HTTPRule) {
	switch {
	case !rule.Retry:
		e.say(StageRetries, "none, but of what surely was not delivered", nil...)
		return
	case !rule.Retries.Covers(e.Request.Method):
		e.say(StageRetries, "none: the rule retries other methods than "+e.Request.Method,
			ruleOf(m.Origin, "isRetryable", "retry")...)
		return
	}
	says := fmt.Sprintf("up to %d tries in all", cmp.Or(rule.MaxTries,
		config.DefaultLimits().MaxTries))
	if rule.Retries.Backoff > 0 {
		says += fmt.Sprintf(", the first again after %s or more", rule.Retries.Backoff)
	}
	if rule.Hedge > 0 {
		says += fmt.Sprintf("; a second one beside one that has had no answer for %s", rule.Hedge)
	}
	e.say(StageRetries, says, ruleOf(m.Origin, "isRetryable", "retry")...)
	budget := e.route.GetRetryBudget()
	e.say(StageRetries, fmt.Sprintf("within a budget of %g %% of the requests, and %d a second",
		100*budget.GetRetryRatio(), budget.GetMinRetriesPerSecond()), e.budgetBy(budget)...)
}

// budgetBy is whose budget it is.
func (e *explainer) budgetBy(b *api.RetryBudget) []Object {
	by := e.Told.users(crd.BackendTrafficPolicyKind, policy.FieldBudget, "")
	standard := b.GetRetryRatio() == crd.DefaultRetryRatio &&
		b.GetMinRetriesPerSecond() == crd.DefaultMinRetriesPerSecond
	if len(by) > 0 || standard {
		return by
	}
	by = e.Told.users(crd.Kind, "", "")
	for i := range by {
		by[i].Field = "spec.retryBudget"
	}
	return by
}
