// Package faultproxy is a TCP proxy for tests. It stands between a client and a server, and breaks the
// connections through it the way networks do: it freezes, refuses, slows, slices or resets them.
//
//	proxy, err := faultproxy.New("127.0.0.1:5432")
//	if err != nil {
//		return err
//	}
//	defer proxy.Close()
//
//	proxy.Freeze() // half-open: the connections stay, and nothing passes
//	proxy.Pass()   // what was held back passes now
package faultproxy
