# A web login on PostgreSQL, in Python with psycopg 3. It finds the database as psql does (PGHOST ...);
# PORT is 8080, IDLE_TIMEOUT 1800 seconds. Behind TLS leave PLAIN_HTTP out: the cookie is then Secure.
#
#     apt-get install python3-psycopg python3-psycopg-pool      # or: pip install 'psycopg[binary,pool]'
#     PLAIN_HTTP=1 /usr/bin/python3 examples/python/login.py    # and open http://localhost:8080

import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg.rows import namedtuple_row
from psycopg_pool import ConnectionPool

PLAIN_HTTP = os.environ.get("PLAIN_HTTP")
COOKIE = "session" if PLAIN_HTTP else "__Host-session"  # with this prefix, from no other host
ATTRIBUTES = "; Path=/; HttpOnly; SameSite=Lax" + ("" if PLAIN_HTTP else "; Secure")
IDLE_TIMEOUT = float(os.environ.get("IDLE_TIMEOUT", "1800"))

# Autocommit: a logout holds when its statement returns, and keepalive locks no row while a page is made.
pool = ConnectionPool("", timeout=2, kwargs={"autocommit": True, "row_factory": namedtuple_row})


class Refused(Exception):  # with a status and a text
    pass


def query(sql, *parameters):
    """Returns the rows of one statement. A token is a parameter, never in the text, which servers log."""
    with pool.connection() as connection:
        return connection.execute(sql, parameters).fetchall()


class Visit(BaseHTTPRequestHandler):
    def do_GET(self):
        page = Path(__file__).parent.parent / "index.html"
        self.answer({"/": page.read_text, "/session": self.show, "/sessions": self.list})

    def do_POST(self):
        self.answer({
            "/note": self.save, "/login": self.login, "/renew": self.renew, "/logout": self.logout,
            "/logout-everywhere": self.logout_everywhere, "/sessions/end": self.end,
        })

    def answer(self, actions):
        self.new_token = None  # to be set; an empty one deletes the cookie
        try:
            if self.path not in actions:
                raise Refused(404, "no such page")
            if self.command == "POST" and self.is_cross_site():
                raise Refused(403, "a form of another site")
            sent = re.search(rf"(?:^|; ){COOKIE}=([^;]+)", self.headers.get("Cookie", ""))
            self.token = sent and sent[1]
            [self.session] = query("SELECT * FROM sessionsql.use_session(%s)", self.token) or [None]
            self.user = self.session and self.session.subject  # None for a visitor
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self.form = dict(parse_qsl(body, errors="strict"))
            self.send(200, actions[self.path]())
        except Refused as refused:
            self.send(*refused.args)
        except (psycopg.DataError, ValueError):  # such as a NUL byte, or an id that is no number
            self.send(400, "not a form of this page")
        except psycopg.Error as error:  # This says nothing about the session: the cookie stays.
            self.log_error("%s", error)
            self.send(503, "try again")

    def is_cross_site(self):
        """SameSite keeps the cookie out of other sites' forms. This tells those of sibling hosts as well."""
        site, origin = self.headers.get("Sec-Fetch-Site"), self.headers.get("Origin")
        if site:
            return site not in ("same-origin", "none")
        return bool(origin) and urlsplit(origin).netloc != self.headers.get("Host")

    def send(self, status, result):
        page = isinstance(result, str)
        body = (result if page else json.dumps(result, default=lambda time: time.isoformat())).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.new_token is not None:
            expiry = "" if self.new_token else "; Max-Age=0"
            self.send_header("Set-Cookie", f"{COOKIE}={self.new_token}{ATTRIBUTES}{expiry}")
        self.end_headers()
        self.wfile.write(body)

    def show(self):
        s = self.session
        if not s:
            return {"subject": None, "note": "", "version": 0, "expires_in": 0}
        return {"subject": s.subject, "note": s.payload, "version": s.version, "expires_in": s.expires_in}

    def save(self):
        """A visitor's first note begins a session. Later ones name the version that they change."""
        note, version = self.form.get("note", ""), self.form.get("version", "")
        if version == "0" and not self.session:
            return self.begin(note, None)
        [[saved]] = query("SELECT sessionsql.save_session(%s, %s, %s)", self.token, note, version)
        if saved < 1:
            raise Refused(401, "log in") if saved else Refused(409, "saved by somebody else in the meantime")
        return {"version": saved}

    def login(self):
        """Takes a visitor's note along, under a new token: whoever planted the old one is not logged in."""
        if not (user := self.form.get("user")):  # and check the password here
            raise Refused(401, "log in")
        if self.user:
            query("SELECT sessionsql.end_session(%s)", self.token)
        else:
            [[self.new_token]] = query("SELECT sessionsql.renew_session(%s, %s)", self.token, user)
        if not self.new_token:
            self.begin("", user)

    def renew(self):
        """After a change of rights, say. The old token is good for 10 s more, for requests under way."""
        # None where there is no session, or where another request was first, which sets the cookie.
        [[self.new_token]] = query("SELECT sessionsql.renew_session(%s)", self.token)

    def logout(self):
        query("SELECT sessionsql.end_session(%s)", self.token)
        self.new_token = ""

    def logout_everywhere(self):
        if self.user:
            query("SELECT sessionsql.revoke_subject(%s)", self.user)
            self.new_token = ""

    def list(self):
        columns = "id::text, label, created_at, is_current AS current"
        rows = query(f"SELECT {columns} FROM sessionsql.list_sessions(%s)", self.token)
        return [row._asdict() for row in rows]

    def end(self):
        """Ends one other session of the same user."""
        [[ended]] = query("SELECT sessionsql.end_listed_session(%s, %s)", self.token, self.form.get("id"))
        if not ended:
            raise Refused(401, "no such session of yours")

    def begin(self, note, subject):
        new = "SELECT sessionsql.new_session(%s, %s, subject => %s, label => %s)"
        [[self.new_token]] = query(new, note, IDLE_TIMEOUT, subject, self.headers.get("User-Agent", "")[:100])
        return {"version": 1}


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Visit).serve_forever()
