package spiffe

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Kubernetes' own bounds: a namespace is a DNS label, a service account a DNS subdomain (RFC 1123).
const (
	maxNamespace      = 63
	maxServiceAccount = 253
)

// ForWorkload makes the ID of a service account: spiffe://TD/ns/NS/sa/SA.
func ForWorkload(td spiffeid.TrustDomain, ns, sa string) (spiffeid.ID, error) {
	if err := checkNames(ns, sa); err != nil {
		return spiffeid.ID{}, err
	}
	return spiffeid.FromSegments(td, "ns", ns, "sa", sa)
}

// Workload takes an ID of exactly the shape that ForWorkload makes apart.
func Workload(id spiffeid.ID) (ns, sa string, err error) {
	parts := strings.Split(id.Path(), "/")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "ns" || parts[3] != "sa" {
		return "", "", fmt.Errorf(
			"%q is not a workload's ID: want spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT",
			id)
	}
	if err := checkNames(parts[2], parts[4]); err != nil {
		return "", "", fmt.Errorf("%q is not a workload's ID: %w", id, err)
	}
	return parts[2], parts[4], nil
}

// ParseWorkload reads a workload's ID from text.
func ParseWorkload(s string) (spiffeid.ID, error) {
	id, err := spiffeid.FromString(s)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("parse SPIFFE ID %q: %w", s, err)
	}
	if _, _, err := Workload(id); err != nil {
		return spiffeid.ID{}, err
	}
	return id, nil
}

func checkNames(ns, sa string) error {
	if len(ns) > maxNamespace || !isLabel(ns) {
		return fmt.Errorf("%q is not a namespace", ns)
	}
	if len(sa) > maxServiceAccount || !isSubdomain(sa) {
		return fmt.Errorf("%q is not a service account", sa)
	}
	return nil
}

func isSubdomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel leaves the length out: Kubernetes bounds a service account's name as a whole, not its
// labels.
func isLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}
