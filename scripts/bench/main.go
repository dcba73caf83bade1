// Command bench compares the Store with other stores for sessions. scripts/bench.sh runs it, and -help lists
// the flags.
//
// Reading the source: main.go has the command line, config.go the sizes, servers.go and process.go the
// servers, rounds.go the turns of the contestants, cpu.go the count of CPU time, peer_*.go the contestants,
// scenario_*.go the questions, and report.go, table.go and plot*.go the answers. The program needs Linux,
// because it reads the CPU time of servers in /proc.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	switch err := command(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command runs one command line.
func command(ctx context.Context, args []string, out, progress io.Writer) error {
	var (
		flags   = flag.NewFlagSet("bench.sh", flag.ContinueOnError)
		quick   = flags.Bool("quick", false, "less of everything: all scenarios but scale within a minute")
		smoke   = flags.Bool("smoke", false, "hardly anything of everything: proves that all still runs")
		asJSON  = flags.Bool("json", false, "print the report as JSON on the last line")
		rounds  = flags.Int("rounds", 0, "turns of each contestant (default 5; 3 with -quick)")
		minutes = flags.Float64("minutes", 0,
			"length of each variant of steady, and of the cache's churn (default 5)")
		replicas = flags.Int("replicas", 0, "replicas of the primary; the Store then reads from them")
		plots    = flags.String("plots", "", "folder to write SVG plots to")
		from     = flags.String("from", "",
			"with -plots: draw from this file, which -json printed, and measure nothing")
		into = flags.String("into", "",
			"replace the figures of the chosen scenarios in this file, which -json printed")
	)
	flags.SetOutput(progress)
	flags.Usage = func() {
		fmt.Fprintln(progress, "bench.sh [flags] [scenario ...]: compares stores for sessions")
		fmt.Fprintln(progress, "scenarios:", strings.Join(scenarioNames(), " "))
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	var earlier *Report
	if path := cmp.Or(*from, *into); path != "" {
		var err error
		if earlier, err = readReport(path); err != nil {
			return err
		}
	}
	if *from != "" {
		return drawPlots(earlier, *plots)
	}

	c := fullConfig()
	switch {
	case *smoke:
		c = smokeConfig()
	case *quick:
		c = quickConfig()
	}
	if *rounds > 0 {
		c.rounds = *rounds
	}
	if *minutes > 0 {
		c.steady = time.Duration(*minutes * float64(time.Minute))
	}
	chosen, err := chooseScenarios(flags.Args(), *smoke)
	if err != nil {
		return err
	}
	if earlier != nil && earlier.Mode != c.mode {
		return fmt.Errorf("%s holds the figures of a %s run, not of a %s one", *into, earlier.Mode, c.mode)
	}
	report, err := measure(ctx, c, chosen, *replicas, progress)
	if err != nil {
		return err
	}
	if err := report.writeTable(out); err != nil {
		return err
	}
	if *into != "" {
		report.addUnmeasured(earlier)
		if err := report.writeFile(*into); err != nil {
			return err
		}
	}
	if *plots != "" {
		if err := drawPlots(report, *plots); err != nil {
			return err
		}
	}
	if *asJSON {
		return report.writeJSON(out)
	}
	return nil
}

// startShare is a quick run's time for starting the servers.
const startShare = 3 * time.Second

// measure starts the servers, runs scenarios and returns their results.
func measure(
	ctx context.Context, c config, chosen []scenario, replicas int, progress io.Writer,
) (*Report, error) {
	begin := time.Now()
	servers, err := startServers(ctx, c, replicas, progress)
	if err != nil {
		return nil, orInterrupted(ctx, err)
	}
	defer servers.close()
	report, err := newReport(ctx, c, servers)
	if err != nil {
		return nil, err
	}
	b := &bench{config: c, servers: servers, report: report, progress: progress}
	if c.mode == "quick" {
		b.due = begin.Add(startShare)
	}
	for _, each := range chosen {
		begin := time.Now()
		if !b.due.IsZero() {
			b.due = b.due.Add(each.share)
		}
		err := each.run(b, ctx)
		if reason, ok := errors.AsType[leftOut](err); ok {
			b.say("%s is left out: %s", each.name, reason)
			continue
		}
		if err != nil {
			return nil, orInterrupted(ctx, err)
		}
		report.Scenarios = append(report.Scenarios, each.name)
		b.say("%s took %v", each.name, time.Since(begin).Round(100*time.Millisecond))
	}
	return report, report.validate()
}

// orInterrupted replaces the errors that follow from a signal by one that names the interruption.
func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
