package main

import (
	"context"

	"github.com/gofiber/storage/postgres/v3"
)

// gofiberTable is the default name of gofiber's table.
const gofiberTable = "fiber_storage"

// openGofiber opens gofiber's own storage. It panics where it cannot connect.
func openGofiber(ctx context.Context, db *database) (*postgres.Storage, error) {
	pool, err := openPgxPool(ctx, db.dsn, scsPoolSize)
	if err != nil {
		return nil, err
	}
	return postgres.New(postgres.Config{DB: pool, Table: gofiberTable}), nil
}
