// Command dist writes what is packaged from the bundle in sql/.
//
//	go run ./scripts/dist -file sql/dist/sessionsql.sql
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"strings"

	bundle "github.com/sessionsql/postgres/sql"
)

func main() {
	file := flag.String("file", "", "write the bundle as one statement into this `file`")
	flag.Parse()
	if err := os.WriteFile(*file, []byte(oneFile()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

//go:embed onefile.sql.txt
var header string

// oneFile returns the bundle as one statement below a header for people and for migration tools.
func oneFile() string {
	return strings.Replace(header, "@statement@\n", bundle.Install(), 1)
}
