// Package tools starts programs that stand between an application and PostgreSQL or watch over its servers:
// PgBouncer, HAProxy, and Patroni with etcd. Each belongs to a [Box], and ends with it.
package tools
