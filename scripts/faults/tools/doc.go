// Package tools starts the programs that stand between an application and PostgreSQL, or watch over its
// servers: PgBouncer, HAProxy, Patroni with etcd. Each belongs to a [Box], and ends with it.
package tools
