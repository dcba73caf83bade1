// Package pgcluster runs clusters of local PostgreSQL servers for tests and demonstrations. A cluster is a
// primary and any number of streaming replicas, in a temporary folder that does not outlive its process.
//
//	cluster, err := pgcluster.Start(ctx, &pgcluster.Options{Replicas: 2})
//	if err != nil {
//		return err
//	}
//	defer cluster.Close()
//
//	primary, err := sql.Open("pgx", cluster.Primary.DSN("postgres"))
//
// It needs only initdb, pg_ctl and postgres, of one major version between 15 and 18. A server refuses to run
// as root, so a process of root runs its servers as user postgres, or nobody.
package pgcluster
