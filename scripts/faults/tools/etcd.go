package tools

import (
	"context"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// An etcd is a cluster of one member.
type etcd struct {
	address string
	api     string // as Patroni names it
}

// startEtcd starts an etcd with the API of version 3, or of version 2, which later releases lack.
func startEtcd(ctx context.Context, box *Box, version2 bool) (*etcd, error) {
	var addresses [2]string
	for i := range addresses {
		port, err := pgcluster.FreePort()
		if err != nil {
			return nil, err
		}
		addresses[i] = loopback(port)
	}
	e := &etcd{address: addresses[0], api: "etcd3"}
	clients, peers := "http://"+addresses[0], "http://"+addresses[1]
	arguments := []string{
		"--data-dir", box.Path("etcd"), "--log-level", "warn",
		"--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
		"--initial-cluster", "default=" + peers,
	}
	if version2 {
		e.api = "etcd"
		arguments = append(arguments, "--enable-v2")
	}
	if _, err := box.Start("etcd", "etcd", arguments...); err != nil {
		return nil, err
	}
	return e, poll(ctx, endTimeout, "etcd is healthy", func(ctx context.Context) error {
		return getJSON(ctx, clients+"/health", nil)
	})
}
