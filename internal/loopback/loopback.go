// Package loopback hands out ports for servers that tests kill and start again, or
// that open their ports themselves.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
)

// marks is where processes mark the ports that they have.
const marks = "127.112.111.114:"

// Take returns an address of this machine, HOST:PORT, where nobody listens now,
// on TCP or UDP. It belongs to the test until that ends: no other test gets it,
// of this process or of one that runs at the same time.
func Take(t testing.TB) string {
	t.Helper()
	for range 1000 {
		// Below the range that the system hands out by itself: there a connection
		// of somebody else may take the port while the server is down.
		port := 10_000 + rand.IntN(22_000)
		mark, err := net.Listen("tcp", fmt.Sprint(marks, port))
		switch {
		case err == nil:
			// Whoever holds the same port there has it here, and that ends with its
			// process, however that ends.
			t.Cleanup(func() { mark.Close() })
		case errors.Is(err, syscall.EADDRINUSE):
			continue
		default: // a machine whose loopback network is one address
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if free(address) {
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return p.Close() == nil
}
