package smsc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/smsc"
	"godwit/smsc/smsctest"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// esme runs a client at an SMSC for the time of the test.
func esme(t *testing.T, s *smsctest.SMSC, change func(*smsc.Options)) *smsc.Client {
	t.Helper()
	up := make(chan struct{}, 100)
	o := smsc.Options{
		Address: s.Addr(), SystemID: smsctest.SystemID, Password: []byte(smsctest.Password), Source: smsc.Number{Digits: "000"},
		Pause: 10 * time.Millisecond, Take: func(context.Context, smsc.Incoming) error { return nil },
		Bound: func(context.Context) { up <- struct{}{} },
	}
	if change != nil {
		change(&o)
	}
	c := smsc.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(2 * time.Minute):
			t.Error("Run does not end")
		}
	})
	select {
	case <-up:
	case <-time.After(2 * time.Minute):
		t.Fatal("not bound in time")
	}
	return c
}

func message(text string) smsc.Message {
	return smsc.Message{To: smsc.Number{Plan: smsc.E212, Digits: "001010000000001"}, Text: text, Reference: 513, Validity: 24 * time.Hour}
}

// submit hands over a message, again as long as there is no link.
func submit(t *testing.T, c *smsc.Client, m smsc.Message) (string, error) {
	t.Helper()
	look, late := time.NewTicker(5*time.Millisecond), time.After(2*time.Minute)
	defer look.Stop()
	for {
		id, err := c.Submit(t.Context(), m)
		if !errors.Is(err, smsc.ErrUnbound) {
			return id, err
		}
		select {
		case <-look.C:
		case <-late:
			t.Fatal("no link")
		}
	}
}

func TestSubmit(t *testing.T) {
	s := smsctest.Start(t)
	c := esme(t, s, nil)
	id, err := c.Submit(t.Context(), message("AT+REBOOT [1] €"))
	if err != nil {
		t.Fatal(err)
	}
	want := smsctest.Message{
		ID: id, To: "001010000000001", Plan: 6, From: "000", Text: "AT+REBOOT [1] €", Validity: "000001000000000R", Reference: 513,
	}
	if got := s.Next(); got != want {
		t.Errorf("the SMSC got %+v, want %+v", got, want)
	}
}

// TestSubmitEnds says what is known of a message in every case.
func TestSubmitEnds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		verdict  smsctest.Verdict
		doubt    bool
		refused  bool
		final    bool
		accepted int
	}{
		{"accepted", smsctest.Accept, false, false, false, 1},
		{"too fast", smsctest.Throttle, false, true, false, 0},
		{"unknown number", smsctest.Refuse, false, true, true, 0},
		{"accepted, the answer lost", smsctest.AcceptDrop, true, false, false, 1},
		{"accepted, no answer", smsctest.Swallow, true, false, false, 1},
		{"the link breaks", smsctest.Drop, true, false, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := smsctest.Start(t)
			c := esme(t, s, func(o *smsc.Options) {
				if tt.verdict == smsctest.Swallow {
					o.Patience = 300 * time.Millisecond
				}
			})
			s.Judge(func(string, string) smsctest.Verdict { return tt.verdict })
			_, err := c.Submit(t.Context(), message("x"))
			refusal, refused := errors.AsType[*smsc.Refusal](err)
			if errors.Is(err, smsc.ErrDoubt) != tt.doubt || refused != tt.refused || refused && refusal.Final() != tt.final {
				t.Errorf("error %v", err)
			}
			for range tt.accepted {
				s.Next() // it may see a message after the patience has ended
			}
			if n := len(s.Accepted()); n != tt.accepted {
				t.Errorf("the SMSC has %d messages, want %d", n, tt.accepted)
			}
			// Whatever it was, the next message goes.
			s.Judge(nil)
			_, err = submit(t, c, message("y"))
			for tt.verdict == smsctest.Swallow && errors.Is(err, smsc.ErrDoubt) { // the patience was too short for this machine
				_, err = submit(t, c, message("y"))
			}
			if err != nil {
				t.Errorf("the next message: %v", err)
			}
		})
	}
}

func TestReconnect(t *testing.T) {
	s := smsctest.Start(t)
	c := esme(t, s, nil)
	s.Down()
	look, late := time.NewTicker(time.Millisecond), time.After(2*time.Minute)
	defer look.Stop()
	for c.Ready() {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("the client does not notice that the SMSC has gone")
		}
	}
	if _, err := c.Submit(t.Context(), message("x")); !errors.Is(err, smsc.ErrUnbound) {
		t.Errorf("without a link: %v, want ErrUnbound", err)
	}
	s.Up()
	if _, err := submit(t, c, message("x")); err != nil {
		t.Error(err)
	}
	if s.Binds() != 2 {
		t.Errorf("bound %d times, want 2", s.Binds())
	}
}

func TestWrongPassword(t *testing.T) {
	s := smsctest.Start(t)
	c := smsc.New(smsc.Options{Address: s.Addr(), SystemID: smsctest.SystemID, Password: []byte("wrong"), Pause: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	look, late := time.NewTicker(time.Millisecond), time.After(2*time.Minute)
	defer look.Stop()
	for s.Rejected() < 3 && !c.Ready() {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("the client does not try")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c.Ready() || s.Binds() != 0 {
		t.Error("bound with a wrong password")
	}
}

// TestWindow sends many messages at once through a small window, and all arrive
// once.
func TestWindow(t *testing.T) {
	s := smsctest.Start(t)
	c := esme(t, s, func(o *smsc.Options) { o.Window = 3 })
	const n = 200
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := c.Submit(context.Background(), message("x")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(s.Accepted()); got != n {
		t.Errorf("the SMSC has %d messages, want %d", got, n)
	}
}

// TestPace: a rate spreads messages, and throttling holds them back.
func TestPace(t *testing.T) {
	s := smsctest.Start(t)
	c := esme(t, s, func(o *smsc.Options) { o.Rate = 50 })
	began := time.Now()
	for range 11 {
		if _, err := c.Submit(t.Context(), message("x")); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("eleven messages at 50 a second took %s, want 200 ms at least", took)
	}
	s.Judge(func(string, string) smsctest.Verdict { return smsctest.Throttle })
	began = time.Now()
	if _, err := c.Submit(t.Context(), message("x")); err == nil {
		t.Fatal("not throttled")
	}
	s.Judge(nil)
	if _, err := c.Submit(t.Context(), message("x")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("after throttling the next message went after %s, want half a second", took)
	}
}

func TestEnquire(t *testing.T) {
	s := smsctest.Start(t)
	esme(t, s, func(o *smsc.Options) { o.Enquire = 10 * time.Millisecond })
	look, late := time.NewTicker(time.Millisecond), time.After(2*time.Minute)
	defer look.Stop()
	for s.Enquired() < 3 {
		select {
		case <-look.C:
		case <-late:
			t.Fatal("nobody asks after the link")
		}
	}
	if s.Binds() != 1 {
		t.Errorf("bound %d times, want once", s.Binds())
	}
}

// TestIncoming: texts in every alphabet, receipts, and what the SMSC hears.
func TestIncoming(t *testing.T) {
	s := smsctest.Start(t)
	got := make(chan smsc.Incoming, 10)
	verdict := make(chan error, 10)
	esme(t, s, func(o *smsc.Options) {
		o.Take = func(_ context.Context, in smsc.Incoming) error {
			got <- in
			return <-verdict
		}
	})
	for _, text := range []string{"temperature 21", "@£_ {€}", "температура", strings.Repeat("x", 160)} {
		verdict <- nil
		if status := s.Text("49151000", 1, text, 7); status != data.ESME_ROK {
			t.Errorf("%q: status %#x", text, status)
		}
		in := <-got
		if in.Text != text || in.Reference != 7 || in.From != (smsc.Number{Plan: smsc.E164, Digits: "49151000"}) || in.Receipt != nil || len(in.Raw) < 17 {
			t.Errorf("%q came as %+v", text, in)
		}
	}
	verdict <- errors.New("disk full")
	if status := s.Text("49151000", 1, "x", 0); status != data.ESME_RX_T_APPN {
		t.Errorf("trouble of ours: status %#x, want a temporary error", status)
	}
	<-got
	verdict <- smsc.ErrNobody
	if status := s.Text("49151001", 1, "x", 0); status != data.ESME_RX_P_APPN {
		t.Errorf("nobody's number: status %#x, want a permanent error", status)
	}
	<-got
	verdict <- nil
	s.Receipt(smsctest.Message{ID: "1a0", To: "49151000", From: "000", Text: "hello", Reference: 9}, "UNDELIV")
	if in := <-got; in.Receipt == nil || *in.Receipt != (smsc.Receipt{ID: "1a0", State: smsc.Undeliverable, Error: "000"}) || in.Reference != 9 {
		t.Errorf("receipt %+v", in)
	}
	// Parameters count before the text.
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.EsmClass = data.SM_SMSC_DLV_RCPT_TYPE
	d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagReceiptedMessageID, Data: []byte("77\x00")})
	d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagMessageStateOption, Data: []byte{2}})
	verdict <- nil
	s.Deliver(d)
	if in := <-got; in.Receipt == nil || *in.Receipt != (smsc.Receipt{ID: "77", State: smsc.Delivered}) {
		t.Errorf("receipt by parameters %+v", in.Receipt)
	}
}

// TestStrangePDU: what is none of SMPP v3.4 is refused, and the link goes on;
// what breaks the stream ends the link, and no more.
func TestStrangePDU(t *testing.T) {
	s := smsctest.Start(t)
	c := esme(t, s, nil)
	s.Raw([]byte{0, 0, 0, 16, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 5})
	if _, err := c.Submit(t.Context(), message("x")); err != nil {
		t.Errorf("after an unknown PDU: %v", err)
	}
	s.Raw([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0})
	// A message may be under way when the link ends, and is in doubt then.
	var err error
	for range 3 {
		if _, err = submit(t, c, message("y")); !errors.Is(err, smsc.ErrDoubt) {
			break
		}
	}
	if err != nil {
		t.Errorf("after a broken stream: %v", err)
	}
}

func TestSeptets(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		ok   bool
	}{
		{"", 0, true},
		{"hello\n", 6, true},
		{"[€]", 6, true},
		{"è Ω ß", 5, true},
		{"日", 0, false},
		{"tab\t", 0, false},
		{"\x00", 0, false},
	} {
		if n, _, ok := smsc.Septets(tt.text); n != tt.n || ok != tt.ok {
			t.Errorf("Septets(%q) = %d, %v, want %d, %v", tt.text, n, ok, tt.n, tt.ok)
		}
	}
}

func TestSameID(t *testing.T) {
	for _, tt := range []struct{ answered, receipted string }{
		{"000001a0", "416"}, {"416", "000001A0"}, {"1A0", "416"}, {"42", "0000000042"}, {"0000000042", "42"}, {"abc-7", "ABC-7"}, {"same", "same"},
	} {
		found := false
		for _, id := range smsc.SameID(tt.receipted) {
			found = found || id == tt.answered
		}
		if !found {
			t.Errorf("%q is not among the forms of %q: %q", tt.answered, tt.receipted, smsc.SameID(tt.receipted))
		}
	}
}
