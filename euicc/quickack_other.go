//go:build !linux

package euicc

import "net"

// quickAck does nothing where the system has no such wish.
type quickAck struct{ net.Conn }
