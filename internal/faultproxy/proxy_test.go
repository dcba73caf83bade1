package faultproxy

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/testkit"
)

// echoServer sends its name on each connection and then echoes all input.
func echoServer(t *testing.T, name string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.WriteString(conn, name)
				io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func startProxy(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := New(target)
	testkit.Must(t, err)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	testkit.Must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// expectSilence checks that no byte arrives.
func expectSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func expectReset(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.Copy(io.Discard, conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read: %v; want a reset", err)
	}
}

func TestPassForwardsBothWaysAndTheEnd(t *testing.T) {
	conn := dial(t, startProxy(t, echoServer(t, "a")))
	io.WriteString(conn, "hello")
	expect(t, conn, "ahello")
	conn.(*net.TCPConn).CloseWrite()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestFreezeHoldsOldAndNewConnections(t *testing.T) {
	p := startProxy(t, echoServer(t, "a"))
	old := dial(t, p)
	expect(t, old, "a")
	p.Freeze()
	io.WriteString(old, "hello")
	expectSilence(t, old)
	fresh := dial(t, p)
	expectSilence(t, fresh)

	p.Pass()
	expect(t, old, "hello")
	expect(t, fresh, "a")
}

func TestRefuseResetsOldAndNewConnections(t *testing.T) {
	p := startProxy(t, echoServer(t, "a"))
	old := dial(t, p)
	expect(t, old, "a")
	p.Refuse()
	expectReset(t, old)
	if fresh, err := net.Dial("tcp", p.Addr()); err == nil {
		expectReset(t, fresh)
		fresh.Close()
	}
	p.Pass()
	expect(t, dial(t, p), "a")
}

func TestResetEndsOpenConnectionsOnly(t *testing.T) {
	p := startProxy(t, echoServer(t, "a"))
	old := dial(t, p)
	expect(t, old, "a")
	p.Reset()
	expectReset(t, old)
	expect(t, dial(t, p), "a")
}

func TestSlowSlicesAndLosesNothing(t *testing.T) {
	p := startProxy(t, echoServer(t, "a"))
	p.Slow(3, time.Millisecond)
	conn := dial(t, p)
	long := strings.Repeat("0123456789", 20)
	io.WriteString(conn, long)
	expect(t, conn, "a"+long)
}

func TestSetTargetMovesNewConnections(t *testing.T) {
	p := startProxy(t, echoServer(t, "a"))
	old := dial(t, p)
	expect(t, old, "a")
	p.SetTarget(echoServer(t, "b"))
	expect(t, dial(t, p), "b")
	io.WriteString(old, "still")
	expect(t, old, "still")
}

func TestATargetThatIsAwayResetsTheClient(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	target := listener.Addr().String()
	listener.Close()
	if conn, err := net.Dial("tcp", startProxy(t, target).Addr()); err == nil {
		defer conn.Close()
		expectReset(t, conn)
	}
}

func TestCloseEndsEveryGoroutine(t *testing.T) {
	target := echoServer(t, "a")
	before := runtime.NumGoroutine()
	p, err := New(target)
	testkit.Must(t, err)
	for range 5 {
		expect(t, dial(t, p), "a")
	}
	p.Freeze()
	dial(t, p)
	for range 2 {
		testkit.Must(t, p.Close())
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}
