package main

import "fmt"

// childArg makes this program one of its own helpers, a process of its own, with one worker thread
// like everything else.
const childArg = "child"

func child(args []string) error {
	switch args[0] {
	case "reverse":
		return reverse(args[1], args[2], args[3], args[4], args[5])
	case "grpc":
		return serveGRPC(args[1])
	case "bulk":
		return serveBulk(args[1])
	case "hold":
		return serveHold(args[1])
	}
	return fmt.Errorf("no child is called %q", args[0])
}
