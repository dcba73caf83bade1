<?php
// A web login on PostgreSQL, in PHP with PDO. It finds the database as psql does (PGHOST, PGDATABASE ...);
// IDLE_TIMEOUT is 1800 seconds. Behind TLS leave PLAIN_HTTP out: the cookie is then Secure.
//
//     apt-get install php-cli php-pgsql
//     PLAIN_HTTP=1 php -S localhost:8080 examples/php/login.php    # and open http://localhost:8080

declare(strict_types=1);
require __DIR__ . '/PostgresSessions.php';

/** SameSite keeps the cookie out of other sites' forms. This tells those of sibling hosts as well. */
function isOtherSite(): bool
{
    $site = $_SERVER['HTTP_SEC_FETCH_SITE'] ?? null;
    $origin = $_SERVER['HTTP_ORIGIN'] ?? null;
    if ($site !== null) {
        return !in_array($site, ['same-origin', 'none'], true);
    }
    return $origin !== null && preg_replace('~^https?://~', '', $origin) !== $_SERVER['HTTP_HOST'];
}

/** A visitor's first note begins a session. Later ones name the version that they change. */
function save(PostgresSessions $sessions): array
{
    if ($sessions->session === null) {
        if ($_POST['version'] !== '0') {
            return [401, 'log in'];
        }
        session_start();
    } elseif ($_POST['version'] !== (string) $sessions->version) {
        $sessions->version = 0;
    }
    if ($sessions->version > 0) {
        $_SESSION['note'] = $_POST['note'];
        @session_write_close(); // which warns of a conflict
    }
    return match ($sessions->version) {
        0 => [409, 'saved by somebody else in the meantime'],
        -1 => [401, 'log in'],
        default => [200, ['version' => $sessions->version]],
    };
}

/** Takes a visitor's note along, under a new token: whoever planted the old one is not logged in. */
function login(PostgresSessions $sessions): array
{
    if (!preg_match('/^[\w.-]{1,64}$/D', $_POST['user'])) { // and check the password here
        return [401, 'log in'];
    }
    if ($sessions->session?->subject !== null) {
        session_destroy();
    }
    if (!$sessions->renew($_POST['user'])) {
        $sessions->subject = $_POST['user'];
        session_id(''); // PHP asks create_sid for another one.
        session_start();
    }
    return [200, null];
}

function logout(PostgresSessions $sessions): array
{
    if ($sessions->session !== null) {
        session_destroy();
    }
    $cookie = session_get_cookie_params();
    unset($cookie['lifetime']);
    setcookie(session_name(), '', ['expires' => 1] + $cookie);
    return [200, null];
}

function logoutEverywhere(PostgresSessions $sessions): array
{
    if ($sessions->session?->subject === null) {
        return [401, 'log in'];
    }
    $sessions->query('SELECT sessionsql.revoke_subject(?)', $sessions->session->subject);
    return logout($sessions);
}

function sessions(PostgresSessions $sessions): array
{
    $list = 'SELECT * FROM sessionsql.list_sessions(?)';
    return [200, array_map(fn ($row) => [
        'id' => (string) $row->id, // JavaScript would round a number
        'label' => $row->label,
        'created_at' => (new DateTime($row->created_at))->format(DATE_ATOM),
        'current' => $row->is_current,
    ], $sessions->query($list, session_id())->fetchAll(PDO::FETCH_OBJ))];
}

/** Ends one other session of the same user. */
function endOther(PostgresSessions $sessions): array
{
    $end = $sessions->query('SELECT sessionsql.end_listed_session(?, ?)', session_id(), $_POST['id']);
    return $end->fetchColumn() ? [200, null] : [401, 'no such session of yours'];
}

/** Does what the visitor asks for, and returns a status and an answer. */
function answer(PostgresSessions $sessions, string $page): array
{
    return match ($page) {
        'GET /session' => [200, [
            'subject' => $sessions->session?->subject,
            'note' => $_SESSION['note'] ?? '',
            'version' => $sessions->version,
            'expires_in' => (float) $sessions->session?->expires_in,
        ]],
        'POST /note' => save($sessions),
        'POST /login' => login($sessions),
        'POST /renew' => [200, $sessions->renew()], // after a change of rights, say
        'POST /logout' => logout($sessions),
        'POST /logout-everywhere' => logoutEverywhere($sessions),
        'GET /sessions' => sessions($sessions),
        'POST /sessions/end' => endOther($sessions),
        default => [404, 'no such page'],
    };
}

$page = $_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($page === 'GET /') {
    return readfile(__DIR__ . '/../index.html');
}
$_POST = array_filter($_POST, is_string(...)) + ['user' => '', 'note' => '', 'version' => '', 'id' => ''];
$plainHTTP = (bool) getenv('PLAIN_HTTP');
session_name($plainHTTP ? 'session' : '__Host-session'); // with this prefix, from no other host
session_set_cookie_params(['path' => '/', 'secure' => !$plainHTTP, 'httponly' => true, 'samesite' => 'Lax']);
ini_set('session.use_strict_mode', '1');
try {
    $options = [PDO::ATTR_EMULATE_PREPARES => false, PDO::PGSQL_ATTR_DISABLE_PREPARES => true];
    $db = new PDO('pgsql:', null, null, $options);
    $sessions = new PostgresSessions($db, getenv('IDLE_TIMEOUT') ?: '1800');
    session_set_save_handler($sessions);
    if ($sessions->validateId((string) filter_input(INPUT_COOKIE, session_name()))) {
        session_start();
    }
    [$status, $answer] = $_SERVER['REQUEST_METHOD'] === 'POST' && isOtherSite()
        ? [403, 'a form of another site'] : answer($sessions, $page);
    session_write_close();
} catch (PDOException $error) { // It says nothing about the session: the cookie stays.
    error_log($error->getMessage());
    $refused = str_starts_with((string) $error->getCode(), '22'); // such as an id that is no number
    [$status, $answer] = $refused ? [400, 'not a form of this page'] : [503, 'try again'];
}
http_response_code($status);
header('Content-Type: application/json');
header('Cache-Control: no-store');
echo json_encode($answer, JSON_INVALID_UTF8_SUBSTITUTE);
