package memory

// LeavesEnough reports whether one may take mine, of a limit that all share and of which taken is
// gone: as much, so many times, as it leaves to others (the dynamic threshold of Choudhury and
// Hahne). The more of them want everything, the less each gets, and there is always room for who
// wants little.
func LeavesEnough(mine, taken, limit, times int) bool { return mine*times <= limit-taken }
