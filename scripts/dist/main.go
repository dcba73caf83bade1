// Command dist packages the bundle in sql/ for those who install it without Go:
//
//	go run ./scripts/dist -file sql/dist/sessionsql.sql    writes the bundle as one statement
//	go run ./scripts/dist dist                             writes an extension with its archives into dist
//
// It is run in the root of the repository.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	file := flag.String("file", "", "write the bundle as one statement into this `file`, and nothing else")
	flag.Parse()
	err := fmt.Errorf("dist: name one folder, or -file")
	switch {
	case *file != "" && flag.NArg() == 0:
		err = os.WriteFile(*file, []byte(oneFile()), 0o644)
	case *file == "" && flag.NArg() == 1:
		err = write(".", flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
