// Command images writes a container image as an archive: scratch, one static binary as the
// entrypoint, and whatever files are asked for. It needs no docker and no network. The same files
// give the same bytes: no times, one order.
//
//	images -o mesh-proxy.tar -tag tulle/mesh-proxy:dev bin/mesh-proxy
//	images -o app.tar -tag test/app:1 bin/app testdata/site:/srv/site.html
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr,
			"usage: images -o FILE -tag NAME:TAG [flags] BINARY [FILE:PATH ...]")
		flag.PrintDefaults()
	}
	var s spec
	out := flag.String("o", "", "archive to write")
	flag.StringVar(&s.tag, "tag", "", "name and tag of the image")
	flag.StringVar(&s.user, "user", "", "user and group it runs as, unless the pod says otherwise")
	flag.StringVar(&s.arch, "arch", runtime.GOARCH, "architecture of the binary")
	flag.Parse()
	if *out == "" || s.tag == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	s.binary, s.files = flag.Arg(0), flag.Args()[1:]
	digest, err := s.write(*out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
	fmt.Println(s.tag, digest)
}
