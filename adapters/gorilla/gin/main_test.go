// Package gin_test shows gin-contrib/sessions over the store of gorilla's. It is a folder of its own, because
// the tests of a package that a program imports count in the program's go.sum.
package gin_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/sessionsql/postgres/internal/sessiontest"
)

// databaseURL leads to the database of all tests and examples.
var databaseURL string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	gin.SetMode(gin.ReleaseMode)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster, err := sessiontest.StartWithBundle(ctx, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Close() }()
	databaseURL = cluster.Primary.DSN("postgres")
	return m.Run()
}
