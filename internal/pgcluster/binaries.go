package pgcluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrNoBinaries says that no suitable PostgreSQL server is installed. The error that wraps it names the
// missing programs and the remedy, in one line.
var ErrNoBinaries = errors.New("pgcluster: no PostgreSQL server")

const (
	oldestMajor = 15
	newestMajor = 18
)

// serverPrograms are the programs that a cluster needs. The npm packages of PostgreSQL hold no others.
var serverPrograms = []string{"initdb", "pg_ctl", "postgres"}

// FindBinaries returns a folder that holds initdb, pg_ctl and postgres of PostgreSQL 15 to 18. It tries the
// environment variable SESSIONSQL_PG_BIN, the folder that pg_config names, the folder of a postgres on the
// PATH, and then the usual folders of distributions, of Homebrew and of scripts/lib/postgres.sh, the highest
// major version first. If SESSIONSQL_PG_MAJOR is set, it accepts that version alone. The error wraps
// ErrNoBinaries.
func FindBinaries() (dir string, err error) {
	lowest, highest, err := acceptedMajors()
	if err != nil {
		return "", err
	}
	if named := os.Getenv("SESSIONSQL_PG_BIN"); named != "" {
		major, err := majorOf(named)
		if err == nil && (major < oldestMajor || major > newestMajor) {
			err = fmt.Errorf("%s is of version %d, not %d to %d", named, major, oldestMajor, newestMajor)
		}
		if err != nil {
			return "", fmt.Errorf("%w: SESSIONSQL_PG_BIN: %v: set it to a folder with %s, or unset it",
				ErrNoBinaries, err, strings.Join(serverPrograms, ", "))
		}
		// A folder of another version is no error, so that a script can run one version after the other.
		if major >= lowest && major <= highest {
			return named, nil
		}
	}
	return firstFit(pathFolders(), usualFolders(), lowest, highest)
}

// firstFit returns the first folder that holds a server of a major version from lowest to highest. It tries
// dirs in their order, and then each pattern with the highest version first.
func firstFit(dirs, patterns []string, lowest, highest int) (string, error) {
	for _, pattern := range patterns {
		for major := highest; major >= lowest; major-- {
			dirs = append(dirs, fmt.Sprintf(pattern, major))
		}
	}
	for _, dir := range dirs {
		if major, err := majorOf(dir); err == nil && major >= lowest && major <= highest {
			return dir, nil
		}
	}
	versions := strconv.Itoa(lowest)
	if lowest != highest {
		versions = fmt.Sprintf("%d to %d", lowest, highest)
	}
	return "", fmt.Errorf("%w: found no folder with %s of version %s: "+
		"install the server package of your system, or run scripts/test.sh, which fetches one, "+
		"or set SESSIONSQL_PG_BIN",
		ErrNoBinaries, strings.Join(serverPrograms, ", "), versions)
}

// acceptedMajors returns the range of major versions that FindBinaries accepts.
func acceptedMajors() (lowest, highest int, err error) {
	demanded := os.Getenv("SESSIONSQL_PG_MAJOR")
	if demanded == "" {
		return oldestMajor, newestMajor, nil
	}
	major, err := strconv.Atoi(demanded)
	if err != nil || major < oldestMajor || major > newestMajor {
		return 0, 0, fmt.Errorf("%w: SESSIONSQL_PG_MAJOR=%s: set it to a number from %d to %d, or unset it",
			ErrNoBinaries, demanded, oldestMajor, newestMajor)
	}
	return major, major, nil
}

// pathFolders returns the folders of pg_config and postgres on the PATH.
func pathFolders() []string {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if program, err := exec.LookPath("postgres"); err == nil {
		// On Alpine /usr/bin/postgres is a link into the folder of the other programs.
		if resolved, err := filepath.EvalSymlinks(program); err == nil {
			program = resolved
		}
		dirs = append(dirs, filepath.Dir(program))
	}
	return dirs
}

// usualFolders returns patterns with %d for the major version. scripts/lib/postgres.sh has the same list.
func usualFolders() []string {
	patterns := []string{
		"/usr/lib/postgresql/%d/bin",                       // Debian, Ubuntu
		"/usr/pgsql-%d/bin",                                // PGDG on Red Hat
		"/usr/libexec/postgresql%d",                        // Alpine
		"/opt/homebrew/opt/postgresql@%d/bin",              // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@%d/bin",                 // Homebrew on Intel
		"/home/linuxbrew/.linuxbrew/opt/postgresql@%d/bin", // Homebrew on Linux
		"/usr/local/lib/sessionsql/postgres-%d/bin",        // scripts/lib/postgres.sh as root
	}
	if os.Geteuid() != 0 {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			cache = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		cache = strings.ReplaceAll(cache, "%", "%%")
		return append(patterns, filepath.Join(cache, "sessionsql", "postgres-%d", "bin"))
	}
	// scripts/lib/postgres.sh uses this folder if root cannot write to /usr/local. The folder must belong to
	// root, because anybody may make one below /var/tmp.
	info, err := os.Lstat("/var/tmp/sessionsql")
	if err == nil && info.IsDir() && info.Sys().(*syscall.Stat_t).Uid == 0 {
		patterns = append(patterns, "/var/tmp/sessionsql/postgres-%d/bin")
	}
	return patterns
}

// majorOf returns the major version of the server in dir. The error names the program that dir lacks.
func majorOf(dir string) (int, error) {
	for _, name := range serverPrograms {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return 0, fmt.Errorf("%s has no program %s", dir, name)
		}
	}
	program := filepath.Join(dir, "postgres")
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("%s --version: %w", program, err)
	}
	// The output is like "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	digits := strings.IndexFunc(version+"\n", func(r rune) bool { return r < '0' || r > '9' })
	major, err := strconv.Atoi(version[:digits])
	if err != nil {
		return 0, fmt.Errorf("%s --version says %q", program, strings.TrimSpace(string(out)))
	}
	return major, nil
}
