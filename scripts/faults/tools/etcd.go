package tools

import (
	"context"
	"fmt"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

// startEtcd starts an etcd of one member, and returns its address for clients.
func startEtcd(ctx context.Context, box *Box) (address string, err error) {
	var ports [2]int
	for i := range ports {
		if ports[i], err = pgcluster.FreePort(); err != nil {
			return "", err
		}
	}
	address = fmt.Sprintf("127.0.0.1:%d", ports[0])
	peers := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	_, err = box.Start("etcd", "etcd", "--data-dir", box.Path("etcd"), "--log-level", "warn",
		"--listen-client-urls", "http://"+address, "--advertise-client-urls", "http://"+address,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
		"--initial-cluster", "default="+peers)
	if err != nil {
		return "", err
	}
	return address, poll(ctx, endTimeout, "etcd is healthy", func(ctx context.Context) error {
		return getJSON(ctx, "http://"+address+"/health", nil)
	})
}
