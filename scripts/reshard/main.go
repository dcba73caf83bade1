// Command reshard divides each of N shards into two, while they are in use:
//
//	go run ./scripts/reshard N -shard DSN ... -router DSN ...
//
// There are 2N shards, in the order of their numbers: N that exist, and as many that are empty. Each new one
// copies its part of an old one by logical replication. Then a short lock keeps the writers out, the old
// shards give their part up, and the new ones take it. At last the copied rows are deleted.
//
// It can be stopped at any step, and goes on from there when it runs again, because it finds its state in the
// servers. No session and no entry has two owners at any time. A stop between giving up and taking leaves
// sessions without an owner until the next run: calls for them return ErrUnavailable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "reshard:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, arguments []string, out io.Writer) error {
	begun := time.Now()
	r := reshard{say: func(format string, values ...any) {
		fmt.Fprintf(out, "%7.2f s  %s\n", time.Since(begun).Seconds(), fmt.Sprintf(format, values...))
	}}
	flags := flag.NewFlagSet("reshard", flag.ContinueOnError)
	appendTo := func(list *[]string) func(string) error {
		return func(dsn string) error { *list = append(*list, dsn); return nil }
	}
	flags.Func("shard", "`DSN` of a shard's primary as its owner and as a superuser", appendTo(&r.shards))
	flags.Func("router", "`DSN` of a router as a superuser", appendTo(&r.routers))
	if len(arguments) == 0 {
		return errors.New("the first argument is the number of shards that there are")
	}
	n, err := strconv.Atoi(arguments[0])
	if err != nil || n < 1 {
		return errors.New("the first argument is not the number of shards that there are")
	}
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return errors.New("an argument is no option: write each DSN behind -shard or -router")
	case len(r.shards) != 2*n:
		return fmt.Errorf("%d shards become %d, but there are %d options -shard", n, 2*n, len(r.shards))
	}
	return r.run(ctx)
}
