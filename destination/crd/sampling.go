package crd

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Off is a sampling of those who want no spans at all.
const Off = "off"

// ParseSampling reads how many of the traces that begin somewhere are sampled: a percentage, "5%",
// "0.1%" or "5", as a number in a million; or Off.
func ParseSampling(text string) (ratio uint32, on bool, err error) {
	text = strings.TrimSpace(text)
	if text == Off {
		return 0, false, nil
	}
	const onePercent = 10_000
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
	if err != nil || !(f >= 0 && f <= 100) { // NaN is neither
		return 0, false, fmt.Errorf("%q is not a percentage such as 5%% or 0.1%%, nor %s", text,
			Off)
	}
	return uint32(math.Round(f * onePercent)), true, nil
}
