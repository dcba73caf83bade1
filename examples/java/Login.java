// A web login on PostgreSQL, in Java with JDBC. It finds the database by PGDATABASE, PGUSER, PGHOST ...;
// PORT is 8080, IDLE_TIMEOUT 1800 seconds. Behind TLS leave PLAIN_HTTP out: the cookie is then Secure.
//     apt-get install default-jdk-headless libpostgresql-jdbc-java    # then open http://localhost:8080
//     PLAIN_HTTP=1 java -cp /usr/share/java/postgresql.jar examples/java/Login.java

import com.sun.net.httpserver.*;
import java.io.IOException;
import java.net.*;
import java.nio.file.*;
import java.sql.*;
import java.util.*;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;
import static java.nio.charset.StandardCharsets.UTF_8;

public class Login {
    static final Map<String, String> ENV = System.getenv();
    static final boolean PLAIN_HTTP = ENV.containsKey("PLAIN_HTTP");
    static final String COOKIE = PLAIN_HTTP ? "session" : "__Host-session"; // so prefixed, from no other host
    static final String ATTRIBUTES = "; Path=/; HttpOnly; SameSite=Lax" + (PLAIN_HTTP ? "" : "; Secure");
    // stringtype: strings go as what the server takes them for, so '1800' is an interval and '7' a number.
    static final String DATABASE = "jdbc:postgresql://" + ENV.getOrDefault("PGHOST", "localhost") + ":"
        + ENV.getOrDefault("PGPORT", "5432") + "/" + ENV.get("PGDATABASE") + "?stringtype=unspecified";
    static final String IDLE_TIMEOUT = ENV.getOrDefault("IDLE_TIMEOUT", "1800");

    final Map<String, String> form = new HashMap<>();
    HttpExchange exchange;
    String token, user; // null where there is none

    public static void main(String[] args) throws IOException {
        int port = Integer.parseInt(ENV.getOrDefault("PORT", "8080"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", exchange -> new Login().answer(exchange));
        server.start();
    }

    /** The first row of a statement on a connection of its own; a pool is faster. Tokens are parameters. */
    static String[] query(String sql, String... parameters) throws SQLException {
        try (var connection = DriverManager.getConnection(DATABASE, ENV.get("PGUSER"), ENV.get("PGPASSWORD"));
                var statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < parameters.length; i++) statement.setString(i + 1, parameters[i]);
            ResultSet row = statement.executeQuery();
            int last = row.getMetaData().getColumnCount();
            return row.next() ? new String[] {row.getString(1), row.getString(last)} : null;
        }
    }

    void answer(HttpExchange exchange) throws IOException {
        this.exchange = exchange;
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.getResponseHeaders().set("Cache-Control", "no-store");
        String answer;
        try {
            answer = "200 " + act(exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath());
        } catch (IllegalStateException refused) {
            answer = refused.getMessage();
        } catch (SQLException | IllegalArgumentException error) { // 22: such as a NUL byte, or a bad id
            boolean bad = !(error instanceof SQLException e) || e.getSQLState().startsWith("22");
            System.err.println(error.getMessage());
            answer = bad ? "400 not a form of this page" : "503 try again"; // The cookie stays.
        }
        exchange.sendResponseHeaders(Integer.parseInt(answer.substring(0, 3)), 0);
        exchange.getResponseBody().write(answer.substring(4).getBytes(UTF_8));
        exchange.close();
    }

    /** Does what the visitor asks for, and returns the answer. */
    String act(String page) throws IOException, SQLException {
        if (page.equals("GET /")) {
            exchange.getResponseHeaders().set("Content-Type", "text/html");
            return Files.readString(Path.of("examples/index.html"));
        }
        if (page.startsWith("POST ") && isOtherSite()) return refuse("403 a form of another site");
        var sent = Pattern.compile("(?:^|; )" + COOKIE + "=([^;]+)").matcher(header("Cookie"));
        token = sent.find() ? sent.group(1) : null;
        String[] found = query("SELECT subject, json_build_object('subject', subject, 'note', payload,"
            + " 'version', version, 'expires_in', expires_in) FROM sessionsql.use_session(?)", token);
        user = found == null ? null : found[0];
        for (String field : new String(exchange.getRequestBody().readAllBytes(), UTF_8).split("&")) {
            String[] pair = (field + "=").split("=", 3);
            form.put(URLDecoder.decode(pair[0], UTF_8), URLDecoder.decode(pair[1], UTF_8));
        }
        return switch (page) {
            case "GET /session" -> found == null ? "{\"note\": \"\", \"version\": 0}" : found[1];
            case "POST /note" -> save(found, form.getOrDefault("note", ""), form.getOrDefault("version", ""));
            case "POST /login" -> login(form.getOrDefault("user", ""));
            // After a change of rights, say. Null where another request was first, which sets the cookie.
            case "POST /renew" -> setCookie(query("SELECT sessionsql.renew_session(?)", token)[0]);
            case "POST /logout" -> logout("SELECT sessionsql.end_session(?)", token);
            case "POST /logout-everywhere" -> user == null ? refuse("401 log in")
                : logout("SELECT sessionsql.revoke_subject(?)", user);
            case "GET /sessions" -> query("SELECT coalesce(json_agg(json_build_object("
                + "'id', id::text, 'label', label, 'created_at', created_at, 'current', is_current)), '[]')"
                + " FROM sessionsql.list_sessions(?)", token)[0];
            case "POST /sessions/end" -> "t".equals( // one other session of the same user
                query("SELECT sessionsql.end_listed_session(?, ?)", token, form.get("id"))[0])
                ? "null" : refuse("401 no such session of yours");
            default -> refuse("404 no such page");
        };
    }

    /** A visitor's first note begins a session. Later ones name the version that they change. */
    String save(String[] found, String note, String version) throws SQLException {
        if (found == null && version.equals("0")) return begin(note, null);
        String saved = query("SELECT sessionsql.save_session(?, ?, ?)", token, note, version)[0];
        if (saved.equals("0")) return refuse("409 saved by somebody else in the meantime");
        return saved.equals("-1") ? refuse("401 log in") : "{\"version\":" + saved + "}";
    }

    /** Takes a visitor's note along, under a new token: whoever planted the old one is not logged in. */
    String login(String name) throws SQLException {
        if (name.isEmpty()) return refuse("401 log in"); // and check the password here
        if (user != null) {
            query("SELECT sessionsql.end_session(?)", token);
            return begin("", name);
        }
        String renewed = query("SELECT sessionsql.renew_session(?, ?)", token, name)[0];
        return renewed == null ? begin("", name) : setCookie(renewed);
    }

    String begin(String note, String subject) throws SQLException {
        String sql = "SELECT sessionsql.new_session(?, ?, subject => ?, label => left(?, 100))";
        setCookie(query(sql, note, IDLE_TIMEOUT, subject, header("User-Agent"))[0]);
        return "{\"version\":1}";
    }

    String logout(String sql, String parameter) throws SQLException {
        query(sql, parameter);
        return setCookie("");
    }

    String setCookie(String value) {
        if (value == null) return "null";
        exchange.getResponseHeaders().set("Set-Cookie",
            COOKIE + "=" + value + ATTRIBUTES + (value.isEmpty() ? "; Max-Age=0" : ""));
        return "null";
    }

    /** SameSite keeps the cookie out of other sites' forms. This tells those of sibling hosts as well. */
    boolean isOtherSite() {
        String site = header("Sec-Fetch-Site"), origin = header("Origin");
        if (!site.isEmpty()) return !site.equals("same-origin") && !site.equals("none");
        return !origin.isEmpty() && !origin.replaceFirst("^https?://", "").equals(header("Host"));
    }

    static String refuse(String statusAndText) { throw new IllegalStateException(statusAndText); }
    String header(String name) { return exchange.getRequestHeaders().getOrDefault(name, List.of("")).get(0); }
}
