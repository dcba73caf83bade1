package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Vacuum is one pass over the sessions, a hundredth of which has died. Its cost is that of a dead row.
type Vacuum struct {
	Rows       int     `json:"rows"`
	Dead       int     `json:"dead"`
	Throttled  bool    `json:"throttled"` // as autovacuum is, by the server's defaults
	Seconds    float64 `json:"seconds"`
	IndexScans int     `json:"index_scans"`
	Dirtied    int     `json:"dirtied_pages"`
	Cost       Cost    `json:"cost"`
}

var (
	indexScans   = regexp.MustCompile(`index scans: (\d+)`)
	dirtiedPages = regexp.MustCompile(`(\d+) dirtied`)
)

// vacuum measures one pass over the sessions, with the pauses of autovacuum or without.
func (t *scaleTable) vacuum(ctx context.Context, dead int, throttled bool) error {
	t.say("scale: vacuum of %d rows, %s", t.rows, choose(throttled, "throttled", "not throttled"))
	config, err := pgx.ParseConfig(t.db.dsn)
	if err != nil {
		return err
	}
	var told strings.Builder
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { told.WriteString(n.Message) }
	config.RuntimeParams["vacuum_cost_delay"] = choose(throttled, "2ms", "0")
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	v := Vacuum{Rows: t.rows, Dead: dead, Throttled: throttled}
	v.Cost, err = t.measure(ctx, scaleVerb{run: func(ctx context.Context, _ int) error {
		begin := time.Now()
		_, err := conn.Exec(ctx, "VACUUM (VERBOSE) sessionsql.session")
		v.Seconds = time.Since(begin).Seconds()
		return err
	}}, dead, throttled)
	if err != nil {
		return err
	}
	// The table comes before its TOAST table.
	for into, pattern := range map[*int]*regexp.Regexp{&v.IndexScans: indexScans, &v.Dirtied: dirtiedPages} {
		found := pattern.FindStringSubmatch(told.String())
		if found == nil {
			return fmt.Errorf("VACUUM (VERBOSE) does not say %q", pattern)
		}
		if *into, err = strconv.Atoi(found[1]); err != nil {
			return err
		}
	}
	t.report.Vacuum = append(t.report.Vacuum, v)
	return nil
}
