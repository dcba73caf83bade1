// Package migrationtools holds no code. Its tests run sql/dist/sessionsql.sql through each migration tool of
// docs/migrations.md, as that page shows it. It is a module of its own, because users of the library need
// none of these tools.
package migrationtools
