package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A pipeListener serves HTTP inside of a bubble of time.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	l.conns <- far
	return near, nil
}

// linked returns a device with one fault on all its requests, and a client over
// its link to a server that counts what arrives.
func linked(t *testing.T, kind Kind, path string) (do func() error, arrived *atomic.Int64) {
	arrived = &atomic.Int64{}
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		io.WriteString(w, "yes")
	})}
	go server.Serve(l)
	base := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() { base.CloseIdleConnections(); close(l.done); server.Close() })
	rates := Rates{}
	if kind != "" {
		rates[kind] = 1
	}
	lab := &Lab{flight: make(chan struct{}, 1)}
	d := &Device{lab: lab, plan: plan(t, 1, 1, 1, rates)}
	d.power.begin(0, false, nil)
	client := d.client(base)
	return func() error {
		p, err := client.Post("http://server"+path, "text/plain", strings.NewReader("please"))
		if err != nil {
			return err
		}
		defer p.Body.Close()
		b, err := io.ReadAll(p.Body)
		if err == nil && string(b) != "yes" {
			err = errors.New(string(b))
		}
		return err
	}, arrived
}

// TestFaultsOfTheLink: what is lost on the way there never arrives, what is lost on
// the way back does, a slow link takes its time and loses nothing; and no fault
// keeps the place of a request that is over.
func TestFaultsOfTheLink(t *testing.T) {
	const es9 = "/gsma/rsp2/es9plus/handleNotification"
	for _, c := range []struct {
		kind        Kind
		path        string
		arrives     int64
		err         error
		least, most time.Duration
	}{
		{"", "/", 3, nil, 0, 0},
		{LostRequest, "/", 0, errLostRequest, 3 * leastLoss, 3 * mostLoss},
		{LostAnswer, "/", 3, errLostAnswer, 3 * leastLoss, 3 * mostLoss},
		{SlowLink, "/", 3, nil, 3 * leastSlow, 3 * mostSlow},
		{LostNotification, es9, 0, errLostRequest, 3 * leastLoss, 3 * mostLoss},
		{LostNotification, "/", 3, nil, 0, 0},
	} {
		t.Run(string(c.kind)+c.path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				do, arrived := linked(t, c.kind, c.path)
				began := time.Now()
				for range 3 {
					if err := do(); !errors.Is(err, c.err) {
						t.Errorf("%v, want %v", err, c.err)
					}
				}
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("took %v, want %v to %v", took, c.least, c.most)
				}
				if arrived.Load() != c.arrives {
					t.Errorf("%d requests arrived, want %d", arrived.Load(), c.arrives)
				}
			})
		})
	}
}

// TestPower: the step at which the power fails takes place or not, and none after
// it.
func TestPower(t *testing.T) {
	for _, late := range []bool{false, true} {
		var p power
		p.begin(3, late, errPower)
		done := 0
		for n := 1; n <= 5; n++ {
			lost, err := p.step()
			if err == nil {
				done++
			}
			if heard := lost == nil && err == nil; heard != (n < 3) {
				t.Errorf("late %v: step %d is heard of: %v", late, n, heard)
			}
		}
		if want := map[bool]int{false: 2, true: 3}[late]; done != want || !errors.Is(p.fails(), errPower) {
			t.Errorf("late %v: %d steps took place, want %d; %v", late, done, want, p.fails())
		}
		p.begin(0, late, nil)
		for range 1000 {
			if lost, err := p.step(); lost != nil || err != nil {
				t.Fatal(lost, err)
			}
		}
	}
}
