package pgcluster

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// defaultSettings make small servers that start fast, lose nothing when killed (the system's cache outlives them) and
// leave nothing behind.
var defaultSettings = map[string]string{
	"fsync":           "off",
	"max_connections": "200",
	"shared_buffers":  "256MB",
	"max_wal_size":    "2GB",
	// A replica that was stopped finds what it missed, without slots that would hold WAL for one that never returns.
	"wal_keep_size": "1GB",
	// A replica comes back soon after its primary did; the default is 5 s.
	"wal_retrieve_retry_interval": "200ms",
	// A killed server leaves POSIX shared memory in /dev/shm, where nobody finds it, but mapped files in its folder.
	// What the second line grants at the start never becomes such a file, which the system would write to disk.
	"dynamic_shared_memory_type": "mmap",
	"min_dynamic_shared_memory":  "16MB",
}

// configure appends settings to postgresql.conf, where the last of a name wins.
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
