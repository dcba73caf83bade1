package pgcluster

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// defaultSettings make small servers that start fast and leave nothing behind. Without fsync a killed server
// still loses nothing that it wrote, because the system's cache outlives it.
var defaultSettings = map[string]string{
	"fsync":           "off",
	"max_connections": "200",
	"shared_buffers":  "256MB",
	"max_wal_size":    "2GB",
	// A replica that was stopped finds the WAL that it missed, without a slot, which would keep WAL for a
	// replica that never returns.
	"wal_keep_size": "1GB",
	// A replica reconnects soon after its primary starts; the default is 5 s.
	"wal_retrieve_retry_interval": "200ms",
	// A killed server would leave POSIX shared memory behind in /dev/shm; mapped files are removed with its
	// folder. The second setting reserves memory at the start without a mapped file, because the system
	// writes such files to disk.
	"dynamic_shared_memory_type": "mmap",
	"min_dynamic_shared_memory":  "16MB",
}

// configure appends settings to postgresql.conf, in which the last line of each name wins.
func configure(dataDir string, groups ...map[string]string) error {
	var lines strings.Builder
	for _, settings := range groups {
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			fmt.Fprintf(&lines, "%s = %s\n", name, quote(settings[name]))
		}
	}
	file, err := os.OpenFile(filepath.Join(dataDir, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("pgcluster: settings: %w", err)
	}
	_, err = file.WriteString(lines.String())
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("pgcluster: settings: %w", err)
	}
	return nil
}

// quote quotes a value for postgresql.conf, where backslashes escape.
func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`).Replace(value) + "'"
}
