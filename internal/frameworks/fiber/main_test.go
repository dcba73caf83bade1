package fiber_test

import (
	"testing"

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

func TestMain(m *testing.M) {
	sessiontest.Main(m, nil, func(c *pgcluster.Cluster) {
		cluster, databaseURL = c, c.Primary.DSN("postgres")
	})
}
