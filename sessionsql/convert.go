package sessionsql

import (
	"database/sql"
	"time"
)

// fromSeconds converts a number of seconds, as SQL functions return them.
func fromSeconds(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// nullSeconds converts a duration to seconds; 0 becomes null.
func nullSeconds(d time.Duration) sql.NullFloat64 {
	return sql.NullFloat64{Float64: d.Seconds(), Valid: d != 0}
}

// nullString converts an empty text to null.
func nullString(text string) sql.NullString { return sql.NullString{String: text, Valid: text != ""} }
