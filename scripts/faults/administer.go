package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// connect opens a connection that no fault touches. It goes through no proxy, and overrides the settings that
// the faults change.
func connect(ctx context.Context, node *pgcluster.Node) (*pgx.Conn, error) {
	return connectAt(ctx, node.SocketDSN("postgres"))
}

// connectAt does the same for a data source name.
func connectAt(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["idle_session_timeout"] = "0"
	config.RuntimeParams["default_transaction_read_only"] = "off"
	return pgx.ConnectConfig(ctx, config)
}

// administer runs statements on a server.
func administer(ctx context.Context, node *pgcluster.Node, statements ...string) error {
	return administerAt(ctx, node.SocketDSN("postgres"), statements...)
}

func administerAt(ctx context.Context, dsn string, statements ...string) error {
	conn, err := connectAt(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%.80s: %w", statement, err)
		}
	}
	return nil
}

// askAt returns the one text that a query returns.
func askAt(ctx context.Context, dsn, query string) (answer string, err error) {
	conn, err := connectAt(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, query).Scan(&answer)
	return answer, err
}
