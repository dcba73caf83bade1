package pgcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreePort returns a port that nobody listens on. It is below the range from which systems choose ports for
// outgoing connections, because a client that dials a stopped server could get that server's port.
func FreePort() (int, error) {
	const lowest, highest = 15000, 32000
	var err error
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("pgcluster: no free port: %w", err)
}
