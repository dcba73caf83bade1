// Command demo runs the whole main job on real input. It starts a primary and two streaming replicas, a small
// web site whose sessions live there, and users who log in, browse, pause, go idle, log out, and cheat.
// Half-way it kills the primary and promotes a replica. It checks every answer against the users' certain
// knowledge, and fails on a wrong one. scripts/demo.sh runs it.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// A shell reports 128 plus a signal's number for a program that the signal ended.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

type config struct {
	duration time.Duration
	users    int
	serve    bool
	json     bool
	primary  string
	replicas []string
	crash    bool

	afterPromotion func(context.Context, *sql.DB) error // a test changes the new primary here
}

// run is the program. When ctx ends, it stops in good order and bounded time, and leaves no process and no
// file.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	screen := newScreen(stderr)
	status, err := demo(ctx, c, stdout, screen)
	switch {
	case err == nil && c.serve: // because a signal is the usual end
		return status
	case ctx.Err() != nil:
		screen.say("demo: interrupted")
		return exitInterrupted
	case err != nil:
		screen.say("demo: %v", err)
		return exitFailed
	}
	return status
}

// parse reads the flags, and prints its error to stderr.
func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&c.duration, "duration", 20*time.Second, "how long the users use the site")
	flags.IntVar(&c.users, "users", 2000, "how many there are")
	flags.BoolVar(&c.serve, "serve", false,
		"keep the site up for a browser, without users of its own, until Ctrl-C")
	flags.BoolVar(&c.json, "json", false, "print the result as one JSON object too, as the last line")
	flags.StringVar(&c.primary, "primary", "",
		"`DSN` of a primary to use (default: start a primary and two replicas)")
	flags.Func("replica", "`DSN` of a replica of that primary; may be repeated", func(dsn string) error {
		c.replicas = append(c.replicas, dsn)
		return nil
	})
	noCrash := flags.Bool("no-crash", false,
		"do not kill the primary half-way (a primary that was named is never killed)")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	c.crash = !*noCrash && c.primary == "" && !c.serve
	var wrong string
	switch {
	case flags.NArg() > 0:
		wrong = fmt.Sprintf("unexpected argument %q", flags.Arg(0))
	case c.duration <= 0:
		wrong = "--duration must be positive"
	case c.users <= 0:
		wrong = "--users must be positive"
	case len(c.replicas) > 0 && c.primary == "":
		wrong = "--replica needs --primary"
	case c.serve && c.json:
		wrong = "--serve has no result, so --json cannot print one"
	default:
		return c, nil
	}
	fmt.Fprintf(stderr, "demo: %s\n", wrong)
	return c, errors.New(wrong)
}

// demo starts everything that the site needs, serves it or lets users use it, and returns the exit status.
func demo(ctx context.Context, c config, stdout io.Writer, screen *screen) (status int, err error) {
	rules := rulesOfLoad
	if c.serve {
		rules = rulesOfServe
	}
	database, err := openDatabase(ctx, c, rules, screen)
	if err != nil {
		return exitFailed, err
	}
	defer func() { err = errors.Join(err, database.close()) }()

	site := newSite(database.store, rules)
	monitor := newMonitor(site, database)
	site.monitor = monitor.handler()
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	watch.Go(func() { monitor.run(watching) })
	defer watch.Wait()
	defer stopWatching()
	address, shutDown, err := site.listen(screen.logger())
	if err != nil {
		return exitFailed, err
	}
	defer shutDown()

	if c.serve {
		screen.say("the site is at %s (idle timeout %v; %v on a public computer); "+
			"%s/status draws how it does; Ctrl-C ends it", address, rules.idle, rules.lifetime, address)
		<-ctx.Done()
		return exitOK, nil
	}
	result, err := load(ctx, c, rules, address, monitor, screen)
	if err != nil {
		return exitFailed, err
	}
	return result.publish(c, stdout, screen)
}
