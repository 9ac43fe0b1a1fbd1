package api

import "strconv"

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
