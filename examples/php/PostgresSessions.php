<?php

declare(strict_types=1);

/**
 * Keeps $_SESSION in PostgreSQL; the id that PHP puts into the cookie is the token. Copy this file.
 *
 * It needs session.use_strict_mode, by which PHP drops a cookie that opens no session, and it leaves the
 * deletion of expired rows to cron: CALL sessionsql.reap_all(). PHP's own handler locks a session while a
 * request lasts. This one lets requests run side by side, and the later of two writes fails: see $version.
 */
final class PostgresSessions implements
    SessionHandlerInterface, SessionIdInterface, SessionUpdateTimestampHandlerInterface
{
    /** The live session that the token opened, as use_session returned it. */
    public ?object $session = null;

    /** The version that the next write expects; then the new one, 0 for a conflict, -1 for no session. */
    public int $version = 0;

    /** Whose the next new session is. */
    public ?string $subject = null;

    private string $created = ''; // a token that was made in this request, and not yet read by
    private string $data = '';    // as it was read

    /** The connection must send parameters apart from the text: PDO::ATTR_EMULATE_PREPARES is false. */
    public function __construct(private PDO $db, private string $idleTimeout) {}

    /** Runs a statement, which commits by itself. A token is a parameter, never in the logged text. */
    public function query(string $sql, int|string|null ...$parameters): PDOStatement
    {
        $statement = $this->db->prepare($sql);
        $statement->execute($parameters);
        return $statement;
    }

    /** Tells whether a token opens a session, and keeps it alive. */
    public function validateId(string $id): bool
    {
        if ($id === $this->created) {
            return false; // PHP asks whether somebody has its new id already.
        }
        $use = 'SELECT * FROM sessionsql.use_session(?)';
        $this->session ??= $this->query($use, $id)->fetchObject() ?: null;
        $this->version = $this->session->version ?? 0;
        return $this->session !== null;
    }

    public function create_sid(): string
    {
        $new = 'SELECT sessionsql.new_session(?, ?, subject => ?, label => ?)';
        $label = substr(preg_replace('/[^ -~]/', '?', $_SERVER['HTTP_USER_AGENT'] ?? ''), 0, 200);
        $this->created = $this->query($new, '', $this->idleTimeout, $this->subject, $label)->fetchColumn();
        return $this->created;
    }

    public function read(string $id): string
    {
        $this->created = '';
        return $this->data = $this->validateId($id) ? base64_decode($this->session->payload) : '';
    }

    /** Writes base64, because what PHP serializes may hold NUL bytes, and PDO ends a text at the first. */
    public function write(string $id, string $data): bool
    {
        if ($data !== $this->data) { // PHP writes an empty $_SESSION in any case.
            $save = 'SELECT sessionsql.save_session(?, ?, ?)';
            $this->version = $this->query($save, $id, base64_encode($data), $this->version)->fetchColumn();
        }
        return $this->version > 0;
    }

    /**
     * Gives the session a new token, as session_regenerate_id() does, but in the same row. At login, pass the
     * user, whom the old token does not log in. Without a user the old token is good for 10 s, for requests under
     * way. Returns false if there is no session, or if another request was first, which sets the cookie.
     */
    public function renew(?string $user = null): bool
    {
        session_write_close();
        $token = $this->query('SELECT sessionsql.renew_session(?, ?)', session_id(), $user)->fetchColumn();
        return $token !== null && session_id($token) !== false && session_start();
    }

    public function destroy(string $id): bool
    {
        $this->query('SELECT sessionsql.end_session(?)', $id);
        return true;
    }

    public function close(): bool
    {
        $this->session = null; // PHP may start another one in the same request.
        return true;
    }

    public function open(string $path, string $name): bool { return true; }
    public function updateTimestamp(string $id, string $data): bool { return true; } // validateId has done it
    public function gc(int $max_lifetime): int { return 0; }
}
