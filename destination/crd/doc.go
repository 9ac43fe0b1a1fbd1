// Package crd holds the kinds that users write, ServiceProfile, BackendTrafficPolicy,
// RateLimitPolicy, FaultInjection, TelemetryPolicy and ServiceLevelObjective (tulle.dev/v1alpha1):
// their defaults, their validation, their YAML, and the CustomResourceDefinitions that give the API
// server the same rules. TapSession and ClusterTapSession are not written by people, but made by
// commands for them; they are of no source of destination's.
//
// Of the Gateway API's kinds, which are that project's, it says how the mesh reads them: what their
// references mean, and which reasons their conditions have.
//
// A ServiceProfile's spec keeps the field names and the meaning of Linkerd's, so that a profile
// moves over by changing its apiVersion. It refuses what it does not know: an unknown field, a
// regular expression that does not compile, a duration without a unit, are errors that name the
// field, and in a file the line, never a value silently dropped.
//
// The package starts no goroutines and talks to no API server.
//
// +kubebuilder:object:generate=true
package crd

//go:generate controller-gen object paths=.
