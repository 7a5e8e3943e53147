package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A Port is the UDP port that devices' datagrams come to, and that ours leave
// from, so that a device may simply answer.
type Port struct{ conn *net.UDPConn }

// Listen opens the port.
func Listen(address string) (*Port, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", a)
	if err != nil {
		return nil, err
	}
	return &Port{conn}, nil
}

// Addr is where the port listens.
func (p *Port) Addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close ends the port.
func (p *Port) Close() error { return p.conn.Close() }

// Send sends a datagram. That it has left is all that can be known.
func (p *Port) Send(to netip.AddrPort, payload []byte) error {
	_, err := p.conn.WriteToUDPAddrPort(payload, to)
	return err
}

const (
	portQueue = 4096 // datagrams that wait to be kept
	portBatch = 128  // kept in one transaction
)

var datagrams = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "godwit_ip_command_datagrams_total",
	Help: "Datagrams that came to the port of IP commands: taken (kept if a device's), full (no room to wait) or lost (the database failed).",
}, []string{"result"})

// Run has what comes kept by take until ctx is over, then closes the port. UDP
// knows no waiting: what cannot be kept in time is lost, and counted.
func (p *Port) Run(ctx context.Context, take func(context.Context, []Datagram) error) error {
	queue := make(chan Datagram, portQueue)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		keep(context.WithoutCancel(ctx), queue, take)
	}()
	stop := context.AfterFunc(ctx, func() { p.conn.Close() })
	defer stop()
	err := p.read(ctx, queue)
	close(queue)
	<-ended
	return err
}

func (p *Port) read(ctx context.Context, queue chan<- Datagram) error {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("port of IP commands: %w", err)
		case err != nil: // an ICMP answer to what we sent, say
			slog.DebugContext(ctx, "port of IP commands", "err", err)
			continue
		}
		d := Datagram{From: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), Payload: append([]byte(nil), buffer[:n]...)}
		if n == 0 || from.Port() == 0 {
			continue // says nothing, or cannot be answered
		}
		select {
		case queue <- d:
		default:
			datagrams.WithLabelValues("full").Inc()
		}
	}
}

// keep takes what waits together.
func keep(ctx context.Context, queue <-chan Datagram, take func(context.Context, []Datagram) error) {
	for d := range queue {
		batch := []Datagram{d}
	more:
		for len(batch) < portBatch {
			select {
			case d, ok := <-queue:
				if !ok {
					break more
				}
				batch = append(batch, d)
			default:
				break more
			}
		}
		result := "taken"
		one, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err := take(one, batch); err != nil {
			result = "lost"
			slog.ErrorContext(ctx, "datagrams of devices are lost", "number", len(batch), "err", err)
		}
		cancel()
		datagrams.WithLabelValues(result).Add(float64(len(batch)))
	}
}
