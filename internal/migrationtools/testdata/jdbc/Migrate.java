import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;

/** Runs statements in one transaction. The statement "install" stands for the block of the document. */
class Migrate {
    public static void main(String[] statements) throws Exception {
        try (Connection connection = DriverManager.getConnection(System.getenv("JDBC_URL"))) {
            connection.setAutoCommit(false);
            for (String text : statements) {
                if (text.equals("install")) {
                    install(connection);
                    continue;
                }
                try (Statement statement = connection.createStatement()) {
                    statement.execute(text);
                }
            }
            connection.commit();
        }
    }

    static void install(Connection connection) throws Exception {
        BLOCK
    }
}
