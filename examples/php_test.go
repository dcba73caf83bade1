package examples_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// PHP asks create_sid anew for an id that validateId knows already. A handler whose new ids are live at once
// would so leave three sessions behind.
func TestPHPRegeneratesOneSession(t *testing.T) {
	var php language
	for _, l := range languages {
		if l.name == "php" {
			php = l
		}
	}
	root := php.prepare(t)
	for _, test := range []struct {
		deleteOld string
		sessions  int
	}{{"true", 1}, {"false", 2}} {
		pool.MustExec("DELETE FROM sessionsql.session")
		command := exec.CommandContext(t.Context(), "php",
			"-d", "session.use_cookies=0", "-d", "session.use_strict_mode=1", "-r", fmt.Sprintf(`
				require 'examples/php/PostgresSessions.php';
				ob_start();
				session_set_save_handler(new PostgresSessions(new PDO('pgsql:'), '1800'));
				session_start();
				$old = session_id();
				$_SESSION['note'] = 'kept';
				session_regenerate_id(%s);
				$new = session_id();
				session_write_close();
				$_SESSION = [];
				session_start();
				echo $new !== $old && session_id() === $new ? $_SESSION['note'] : 'another session';
			`, test.deleteOld))
		command.Dir, command.Env = root, environment()
		out, err := command.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "kept" {
			t.Errorf("session_regenerate_id(%s): %v: %s", test.deleteOld, err, out)
		}
		if n := get[int](t, "SELECT count(*) FROM sessionsql.session"); n != test.sessions {
			t.Errorf("session_regenerate_id(%s): %d sessions, want %d", test.deleteOld, n, test.sessions)
		}
	}
}
