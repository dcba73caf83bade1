package sessionsql

import "context"

// isRouter reports whether the primary is a router; see sql/router.sql. It asks once.
func (s *Store) isRouter(ctx context.Context, on Tx) (bool, error) {
	if known := s.router.Load(); known != nil {
		return *known, nil
	}
	router, err := s.queries.IsRouter(ctx, on)
	if err == nil {
		s.router.Store(&router)
	}
	return router, err
}

// partsOfReads returns the number of parts into which the primary cuts a batch of reads. A router cuts it
// into one for each shard, and each shard parses and plans its part anew. Four bounds the batch, and so the
// memory and the time that it takes, however many shards there are.
func (s *Store) partsOfReads() int {
	if router := s.router.Load(); router != nil && *router {
		return 4
	}
	return 1
}

// refuseRouter returns ErrRouter if the primary is a router.
func (s *Store) refuseRouter(ctx context.Context, on Tx) error {
	router, err := s.isRouter(ctx, on)
	if err == nil && router {
		return ErrRouter
	}
	return err
}
