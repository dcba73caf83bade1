package main

import (
	"context"
	"net"
	"time"

	"github.com/redis/rueidis"
)

// nearAge is how long an entry is kept at most. The Store has no other age, so rueidis gets the same.
const nearAge = 30 * time.Second

// rueidisNear uses the client-side cache of rueidis. A miss asks for the value alone and not for the key's
// time to live too, because that is the faster way.
type rueidisNear struct {
	*rueidisPeer
	counts []hitCount // of each caller
}

// A hitCount has a cache line of its own, so that callers do not wait for each other.
type hitCount struct {
	hits, lookups int64
	_             [48]byte
}

// openRueidisNear opens a client whose connections keep a number of bytes together. keepAlive is the pause
// after which rueidis asks a silent server for an answer. It waits ten times as long for the answer.
func openRueidisNear(
	address string, server *process, bytes int64, keepAlive time.Duration,
) (*rueidisNear, error) {
	const multiplex = 1 // two connections, its default on the machine of the kept figures
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{address},
		CacheSizeEachConn: int(bytes >> multiplex),
		PipelineMultiplex: multiplex,
		Dialer:            net.Dialer{KeepAlive: keepAlive},
		ConnWriteTimeout:  10 * keepAlive,
	})
	if err != nil {
		return nil, err
	}
	return &rueidisNear{rueidisPeer: &rueidisPeer{server: server, client: client}}, nil
}

func (r *rueidisNear) name() string { return "rueidis DoCache" }

func (r *rueidisNear) lookup(ctx context.Context, slot int) error {
	_, err := r.find(ctx, slot)
	return err
}

// find reports whether the answer came from memory.
func (r *rueidisNear) find(ctx context.Context, slot int) (hit bool, err error) {
	get := r.client.B().Get().Key(keyPrefix + r.keys[slot]).Cache().ToStaticTTL()
	answer := r.client.DoCache(ctx, get, nearAge)
	_, err = answer.ToString()
	return answer.IsCacheHit(), err
}

// share returns the share of the counted lookups that were hits.
func (r *rueidisNear) share() float64 {
	var sum hitCount
	for i := range r.counts {
		sum.hits, sum.lookups = sum.hits+r.counts[i].hits, sum.lookups+r.counts[i].lookups
	}
	return float64(sum.hits) / float64(sum.lookups)
}
