// Package pgcluster runs clusters of local PostgreSQL server processes for tests and demonstrations: a primary and any
// number of streaming replicas, in a temporary folder that never outlives the process that asked for it.
//
//	cluster, err := pgcluster.Start(ctx, &pgcluster.Options{Replicas: 2})
//	if err != nil {
//		return err
//	}
//	defer cluster.Close()
//
//	primary, err := sql.Open("pgx", cluster.Primary.DSN("postgres"))
//
// It needs initdb, pg_ctl and postgres of one major version between 15 and 18 and nothing else: no client programs, no
// container engine. A server refuses to run as root, so a process of root runs its servers as user postgres, or nobody.
package pgcluster
