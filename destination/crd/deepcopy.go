package crd

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// DeepCopyObject makes ServiceProfile a runtime.Object.
func (p *ServiceProfile) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject makes ServiceProfileList a runtime.Object.
func (l *ServiceProfileList) DeepCopyObject() runtime.Object {
	out := *l
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = make([]ServiceProfile, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return &out
}

// DeepCopy returns a profile that shares nothing with p.
func (p *ServiceProfile) DeepCopy() *ServiceProfile {
	out := *p
	p.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec = p.Spec.deepCopy()
	out.Status.Conditions = copyEach(p.Status.Conditions, func(c metav1.Condition) metav1.Condition { return c })
	return &out
}

func (s ServiceProfileSpec) deepCopy() ServiceProfileSpec {
	s.Routes = copyEach(s.Routes, Route.deepCopy)
	s.RetryBudget = s.RetryBudget.deepCopy()
	s.DstOverrides = copyEach(s.DstOverrides, func(d WeightedDst) WeightedDst {
		d.Weight = d.Weight.DeepCopy()
		return d
	})
	s.OpaquePorts = slices.Clone(s.OpaquePorts)
	return s
}

func (r Route) deepCopy() Route {
	r.Condition = r.Condition.deepCopy()
	r.ResponseClasses = copyEach(r.ResponseClasses, func(c ResponseClass) ResponseClass {
		c.Condition = c.Condition.deepCopy()
		return c
	})
	return r
}

func (m *RequestMatch) deepCopy() *RequestMatch {
	if m == nil {
		return nil
	}
	out := *m
	out.All = copyEach(m.All, (*RequestMatch).deepCopy)
	out.Any = copyEach(m.Any, (*RequestMatch).deepCopy)
	out.Not = m.Not.deepCopy()
	return &out
}

func (m *ResponseMatch) deepCopy() *ResponseMatch {
	if m == nil {
		return nil
	}
	out := *m
	out.Status = clonePtr(m.Status)
	out.All = copyEach(m.All, (*ResponseMatch).deepCopy)
	out.Any = copyEach(m.Any, (*ResponseMatch).deepCopy)
	out.Not = m.Not.deepCopy()
	return &out
}

func (b *RetryBudget) deepCopy() *RetryBudget {
	if b == nil {
		return nil
	}
	return &RetryBudget{RetryRatio: clonePtr(b.RetryRatio), MinRetriesPerSecond: clonePtr(b.MinRetriesPerSecond), TTL: b.TTL}
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func copyEach[T any](in []T, one func(T) T) []T {
	if in == nil {
		return nil
	}
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = one(v)
	}
	return out
}
