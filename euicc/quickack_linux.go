package euicc

import (
	"net"
	"syscall"
)

// quickAck is a connection that acknowledges what it reads at once. The kernel
// forgets the wish, so it is repeated before each read.
type quickAck struct{ net.Conn }

func (q quickAck) Read(b []byte) (int, error) {
	if tcp, ok := q.Conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			// A wish: where it cannot be granted, reading only is slower.
			_ = raw.Control(func(fd uintptr) {
				_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
			})
		}
	}
	return q.Conn.Read(b)
}
