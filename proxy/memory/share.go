package memory

// LeavesEnough reports whether one user may hold mine of a limit that all users share, of which
// taken is used by all. Each may hold as much as is left for others, divided by times (the dynamic
// threshold of Choudhury and Hahne). The more users want everything, the less each gets; whoever
// wants little always finds room.
func LeavesEnough(mine, taken, limit, times int) bool { return mine*times <= limit-taken }
