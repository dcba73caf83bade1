// Package faultproxy is a TCP proxy for tests. It stands between a client and a server, and freezes, refuses,
// slows, slices or resets the connections through it, as networks do.
//
//	proxy, err := faultproxy.New("127.0.0.1:5432")
//	if err != nil {
//		return err
//	}
//	defer proxy.Close()
//
//	proxy.Freeze() // the connections stay open, and nothing passes
//	proxy.Pass()   // the bytes that were held back pass now
package faultproxy
