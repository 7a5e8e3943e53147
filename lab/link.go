package lab

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"godwit/rsp"
)

// What a device finds of its network.
var (
	errNoNetwork   = errors.New("no network")
	errLostRequest = errors.New("timed out: the request was lost")
	errLostAnswer  = errors.New("timed out: the answer was lost")
)

// How long a loss is waited for, and how slow a slow link is.
const (
	leastLoss, mostLoss = 200 * time.Millisecond, 2 * time.Second
	leastSlow, mostSlow = 500 * time.Millisecond, 4 * time.Second
)

// A link is the network of one device, over connections that all devices share.
type link struct {
	device *Device
	base   http.RoundTripper
}

// RoundTrip sends a request, unless something happens to it.
func (l *link) RoundTrip(q *http.Request) (*http.Response, error) {
	d := l.device
	refuse := func(err error) (*http.Response, error) {
		if q.Body != nil {
			q.Body.Close()
		}
		return nil, err
	}
	lost, err := d.power.step()
	if err != nil {
		return refuse(err)
	}
	if !d.covered() {
		return refuse(errNoNetwork)
	}
	d.requests++
	n := d.requests
	kind := d.plan.Strikes(Request, n)
	if kind == "" && notifies(q) {
		d.notifications++
		kind = d.plan.Strikes(Notification, d.notifications)
	}
	if d.lab.calm.Load() {
		kind = ""
	}
	if kind != "" {
		d.lab.struck(kind)
	}
	switch kind {
	case SlowLink:
		if err := rest(q.Context(), d.plan.between("slow", n, leastSlow, mostSlow)); err != nil {
			return refuse(err)
		}
	case LostRequest, LostNotification:
		return refuse(errors.Join(errLostRequest, rest(q.Context(), d.plan.between("loss", n, leastLoss, mostLoss))))
	}
	answer, err := d.lab.send(l.base, q)
	if err != nil {
		return nil, err
	}
	if kind == LostAnswer {
		lost = errors.Join(errLostAnswer, rest(q.Context(), d.plan.between("loss", n, leastLoss, mostLoss)))
	}
	if lost != nil {
		io.Copy(io.Discard, io.LimitReader(answer.Body, 8<<20)) // the server has done its work
		answer.Body.Close()
		return nil, lost
	}
	return answer, nil
}

// notifies reports whether a request delivers a notification: by its path, or by
// the tag that it begins with in the ASN.1 binding.
func notifies(q *http.Request) bool {
	if strings.HasSuffix(q.URL.Path, "/"+rsp.FnHandleNotification) {
		return true
	}
	if q.URL.Path != rsp.PathASN1 || q.GetBody == nil {
		return false
	}
	body, err := q.GetBody()
	if err != nil {
		return false
	}
	defer body.Close()
	var tag [2]byte
	_, err = io.ReadFull(body, tag[:])
	return err == nil && tag == [2]byte{0xBF, 0x3D}
}

// rest lets time pass.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send sends a request when it is its turn: however many devices wake at a time,
// so many connections are open and not more.
func (l *Lab) send(base http.RoundTripper, q *http.Request) (*http.Response, error) {
	select {
	case l.flight <- struct{}{}:
	case <-q.Context().Done():
		return nil, q.Context().Err()
	}
	l.count.requests.Add(1)
	answer, err := base.RoundTrip(q)
	if err != nil {
		<-l.flight
		return nil, err
	}
	answer.Body = &flightBody{ReadCloser: answer.Body, flight: l.flight}
	return answer, nil
}

// A flightBody gives its place free when it has been read.
type flightBody struct {
	io.ReadCloser
	flight chan struct{}
	done   bool
}

func (b *flightBody) Close() error {
	if !b.done {
		b.done = true
		<-b.flight
	}
	return b.ReadCloser.Close()
}
