package api

import "testing"

func TestAKeyIsFoundByItsName(t *testing.T) {
	for _, key := range []*Key{
		{Key: &Key_Address{Address: "10.0.0.1:80"}}, {Key: &Key_Address{}},
		{Key: &Key_Authority{Authority: "web.shop:80"}}, {Key: &Key_Authority{Authority: "a/b"}},
		{Key: &Key_InboundPort{InboundPort: 8080}}, {Key: &Key_InboundPort{}},
		{Key: &Key_Cluster{Cluster: "web.shop.svc.cluster.local:80"}}, {Key: &Key_Self{}},
	} {
		name := KeyString(key)
		if got := KeyString(KeyOf(name)); got != name || name == "" {
			t.Errorf("%q is taken for %q", name, got)
		}
	}
	if KeyOf("") != nil || KeyOf("inbound/x") != nil {
		t.Error("there is a key without a name")
	}
}
