package api

import (
	"strconv"
	"strings"
)

// KeyString is what a key is called, and so is the Route, Inbound or Config that answers it; "" is
// for a key that asks nothing. The key is taken as it was written: two spellings of one address are
// two keys.
func KeyString(k *Key) string {
	switch k := k.GetKey().(type) {
	case *Key_Address:
		return "address/" + k.Address
	case *Key_Authority:
		return "authority/" + k.Authority
	case *Key_InboundPort:
		return "inbound/" + strconv.FormatUint(uint64(k.InboundPort), 10)
	case *Key_Cluster:
		return "cluster/" + k.Cluster
	case *Key_Self:
		return "self"
	}
	return ""
}

// ClusterName is what a Cluster is called, as a resource, in a Backend and in a key: after its
// endpoints, and its variant, if it is one.
func ClusterName(endpoints, variant string) string {
	if variant == "" {
		return endpoints
	}
	return endpoints + "/" + variant
}

// SplitCluster takes ClusterName apart. The name of endpoints has no slash.
func SplitCluster(name string) (endpoints, variant string) {
	endpoints, variant, _ = strings.Cut(name, "/")
	return endpoints, variant
}

// KeyOf is the key that KeyString calls so. It is nil for what is no key's name.
func KeyOf(name string) *Key {
	kind, rest, _ := strings.Cut(name, "/")
	switch kind {
	case "address":
		return &Key{Key: &Key_Address{Address: rest}}
	case "authority":
		return &Key{Key: &Key_Authority{Authority: rest}}
	case "inbound":
		port, err := strconv.ParseUint(rest, 10, 32)
		if err != nil {
			return nil
		}
		return &Key{Key: &Key_InboundPort{InboundPort: uint32(port)}}
	case "cluster":
		return &Key{Key: &Key_Cluster{Cluster: rest}}
	case "self":
		return &Key{Key: &Key_Self{Self: &Self{}}}
	}
	return nil
}
