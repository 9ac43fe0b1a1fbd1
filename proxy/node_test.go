package proxy

import (
	"fmt"
	"testing"
)

func TestGateways(t *testing.T) {
	const v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\t" +
		"Window\tIRTT\n" +
		"eth0\t00000000\t0102F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t0002F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
	const zero = "00000000000000000000000000000000"
	const v6 = zero + " 00 " + zero + " 00 fd000000000000000000000000000001 00000400 1 0 3 eth0\n" +
		"fd000000000000000000000000000000 40 " + zero + " 00 " + zero + " 00000100 1 0 1 eth0\n" +
		zero + " 00 " + zero + " 00 " + zero + " ffffffff 1 0 00200200 lo\n"
	if got := fmt.Sprint(gatewaysV4(v4), gatewaysV6(v6)); got != "[10.244.2.1] [fd00::1]" {
		t.Error(got)
	}
	for _, text := range []string{"", "\n", "a b c d e f g h", zero + " 00 x 00 y"} {
		if got := append(gatewaysV4(text), gatewaysV6(text)...); len(got) > 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
}
