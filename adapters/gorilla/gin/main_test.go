// Package gin_test shows gin-contrib/sessions over the store of gorilla's. It is a folder of its own, because
// the tests of a package that a program imports count in the program's go.sum.
package gin_test

import (
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
)

// databaseURL leads to the database of all tests and examples.
var databaseURL string

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	sessiontest.Main(m, nil, func(c *pgcluster.Cluster) { databaseURL = c.Primary.DSN("postgres") })
}
