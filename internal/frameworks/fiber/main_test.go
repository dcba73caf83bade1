package fiber_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	fiberv2 "github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v3"

	sessionsqlfiber "github.com/sessionsql/postgres/adapters/fiber"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

var must = testkit.Must

var (
	_ fiber.Storage   = (*sessionsqlfiber.Storage)(nil)
	_ fiberv2.Storage = (*sessionsqlfiber.Storage)(nil)
)

// The servers of all tests and examples.
var (
	cluster     *pgcluster.Cluster
	databaseURL string // leads to the database of the examples
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if cluster, err = sessiontest.StartWithBundle(ctx, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Close() }()
	databaseURL = cluster.Primary.DSN("postgres")
	return m.Run()
}
