package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// mapSize returns the number of shards that a router knows.
func mapSize(ctx context.Context, conn *pgx.Conn) (int, error) {
	return get[int](ctx, conn, "SELECT sessionsql.shards()")
}

// options returns the shards that the map of a router does not have yet, as options of its server.
func (r *reshard) options() (string, error) {
	var added []string
	for i := len(r.shards) / 2; i < len(r.shards); i++ {
		option, err := routerOption(r.shards[i])
		if err != nil {
			return "", fmt.Errorf("shard %d: %w", i, err)
		}
		added = append(added, fmt.Sprintf("ADD p%d %s", i, literal(option)))
	}
	return "OPTIONS (" + strings.Join(added, ", ") + ")", nil
}

// checkRouter refuses a router that could not reach all shards later. It asks them with the map to be, which
// it then rolls back.
func (r *reshard) checkRouter(ctx context.Context, dsn string) error {
	return r.onRouter(ctx, dsn, func(conn *pgx.Conn) error {
		size, err := mapSize(ctx, conn)
		switch {
		case err != nil:
			return err
		case size == len(r.shards):
			return nil
		case size != len(r.shards)/2:
			return fmt.Errorf("its map has %d shards", size)
		}
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		if err := r.extend(ctx, conn); err != nil {
			return err
		}
		asked, err := get[int](ctx, conn, "SELECT count(*) FROM sessionsql_router.shards()")
		if err == nil && asked != len(r.shards) {
			err = fmt.Errorf("it reached %d of %d shards", asked, len(r.shards))
		}
		return err
	})
}

// route gives a router the new map.
func (r *reshard) route(ctx context.Context, dsn string) error {
	return r.onRouter(ctx, dsn, func(conn *pgx.Conn) error {
		size, err := mapSize(ctx, conn)
		if err != nil || size == len(r.shards) {
			return err
		}
		r.say("router %s: the map gets %d shards", address(conn), len(r.shards))
		return r.extend(ctx, conn)
	})
}

func (r *reshard) extend(ctx context.Context, conn *pgx.Conn) error {
	options, err := r.options()
	if err == nil {
		_, err = conn.Exec(ctx, "ALTER SERVER sessionsql "+options)
	}
	return err
}

func (r *reshard) onRouter(ctx context.Context, dsn string, do func(conn *pgx.Conn) error) error {
	return connected(ctx, dsn, func(conn *pgx.Conn) error {
		if err := do(conn); err != nil {
			return fmt.Errorf("router %s: %w", address(conn), err)
		}
		return nil
	})
}

func address(conn *pgx.Conn) string {
	config := conn.Config()
	return fmt.Sprintf("%s:%d/%s", config.Host, config.Port, config.Database)
}

var (
	errNoKeywords = errors.New(
		`write the DSN as "host=... dbname=... user=...", because a router gets it too`)
	errPassword = errors.New(
		"the DSN holds a password, which a server would log with a failed statement: write it into ~/.pgpass")
)

// routerOption returns the DSN of a shard as a router needs it: without the user, which its user mapping has
// with the password, and for a server that accepts writes.
func routerOption(dsn string) (string, error) {
	var kept []string
	writable := true
	for rest := strings.TrimSpace(dsn); rest != ""; rest = strings.TrimSpace(rest) {
		name, value, found := strings.Cut(rest, "=")
		if name = strings.TrimSpace(name); !found || name == "" || strings.ContainsAny(name, ":/ ") {
			return "", errNoKeywords
		}
		end := valueEnd(strings.TrimLeft(value, " "))
		value = strings.TrimLeft(value, " ")
		value, rest = value[:end], value[end:]
		switch name {
		case "password":
			return "", errPassword
		case "user", "passfile":
		case "target_session_attrs":
			writable = false
			fallthrough
		default:
			kept = append(kept, name+"="+value)
		}
	}
	if writable {
		kept = append(kept, "target_session_attrs=read-write")
	}
	return strings.Join(kept, " "), nil
}

// valueEnd returns where the first value of a DSN ends, which may be in quotes.
func valueEnd(text string) int {
	quoted := strings.HasPrefix(text, "'")
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case quoted && i > 0 && text[i] == '\'':
			return i + 1
		case !quoted && text[i] == ' ':
			return i
		}
	}
	return len(text)
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
