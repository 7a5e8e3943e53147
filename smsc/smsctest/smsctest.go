// Package smsctest is an SMSC for tests: it speaks SMPP v3.4 over real
// connections, keeps what it accepts, sends receipts and devices' messages, and
// can be slow, full, deaf and broken.
package smsctest

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"godwit/internal/loopback"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// The credentials that the SMSC accepts.
const (
	SystemID = "godwit"
	Password = "secret"
)

// A Verdict is what the SMSC does with a message.
type Verdict int

// The verdicts.
const (
	Accept     Verdict = iota
	Throttle           // refuses it as too fast
	Refuse             // refuses it for good: the number is unknown
	Swallow            // accepts it and never answers
	AcceptDrop         // accepts it and breaks the connection instead of answering
	Drop               // breaks the connection and forgets it
)

// A Message is what the SMSC has accepted.
type Message struct {
	ID        string
	To        string
	Plan      byte
	From      string
	Text      string
	Validity  string
	Reference uint16
}

// An SMSC is one short message service centre.
type SMSC struct {
	t    testing.TB
	addr string

	mu       sync.Mutex
	listener net.Listener
	judge    func(to, text string) Verdict
	accepted []Message
	peers    map[*peer]bool
	arrived  chan Message
	enquired int
	binds    int
	rejected int
	early    func(Message) // called before the answer to submit_sm goes out
}

// Start starts an SMSC on a port of this machine.
func Start(t testing.TB) *SMSC {
	t.Helper()
	s := &SMSC{t: t, peers: map[*peer]bool{}, arrived: make(chan Message, 10_000)}
	l, err := net.Listen("tcp", loopback.Take(t))
	if err != nil {
		t.Fatal(err)
	}
	s.serve(l)
	t.Cleanup(s.Down)
	return s
}

// Addr is where the SMSC listens, also while it is down.
func (s *SMSC) Addr() string { return s.addr }

// Up lets the SMSC listen again.
func (s *SMSC) Up() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.serve(l)
}

func (s *SMSC) serve(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr, s.listener = l.Addr().String(), l
	go s.accept(l)
}

// Down breaks all connections and lets nobody in.
func (s *SMSC) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener.Close()
	for p := range s.peers {
		p.conn.Close()
	}
}

// Judge sets what becomes of messages; nil accepts all.
func (s *SMSC) Judge(judge func(to, text string) Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge = judge
}

// Early sets what happens between the acceptance of a message and its answer.
func (s *SMSC) Early(f func(Message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.early = f
}

// Accepted returns what the SMSC has accepted since it began.
func (s *SMSC) Accepted() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.accepted...)
}

// Enquired returns how often somebody has asked after a link.
func (s *SMSC) Enquired() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enquired
}

// Binds returns how often somebody was bound.
func (s *SMSC) Binds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.binds
}

// Rejected returns how often somebody was not bound who wanted to be.
func (s *SMSC) Rejected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejected
}

// Next waits for the next message that is accepted.
func (s *SMSC) Next() Message {
	s.t.Helper()
	select {
	case m := <-s.arrived:
		return m
	case <-time.After(time.Minute):
		s.t.Fatal("the SMSC has accepted no message in a minute")
		return Message{}
	}
}

// Receipt sends a receipt about a message and returns the status of the answer.
// stat is as receipts write it: DELIVRD, EXPIRED.
func (s *SMSC) Receipt(m Message, stat string) data.CommandStatusType {
	s.t.Helper()
	return s.Deliver(s.receipt(m, stat))
}

// EarlyReceipt sends a receipt and does not wait: for use in Early.
func (s *SMSC) EarlyReceipt(m Message, stat string) { s.begin(s.receipt(m, stat)) }

func (s *SMSC) receipt(m Message, stat string) *pdu.DeliverSM {
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.EsmClass = data.SM_SMSC_DLV_RCPT_TYPE
	d.SourceAddr, _ = pdu.NewAddressWithTonNpiAddr(0, m.Plan, m.To)
	d.DestAddr, _ = pdu.NewAddressWithTonNpiAddr(0, 0, m.From)
	head := m.Text[:min(20, len(m.Text))]
	if err := d.Message.SetMessageWithEncoding(fmt.Sprintf(
		"id:%s sub:001 dlvrd:001 submit date:2611201000 done date:2611201001 stat:%s err:000 text:%s", m.ID, stat, head), data.GSM7BIT); err != nil {
		s.t.Fatal(err)
	}
	if m.Reference != 0 {
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagUserMessageReference, Data: binary.BigEndian.AppendUint16(nil, m.Reference)})
	}
	return d
}

// Text sends a device's message and returns the status of the answer.
func (s *SMSC) Text(from string, plan byte, text string, reference uint16) data.CommandStatusType {
	s.t.Helper()
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	d.SourceAddr, _ = pdu.NewAddressWithTonNpiAddr(0, plan, from)
	d.DestAddr, _ = pdu.NewAddressWithTonNpiAddr(0, 0, "000")
	coding := data.GSM7BIT
	if len(data.ValidateGSM7String(text)) > 0 {
		coding = data.UCS2
	}
	if err := d.Message.SetMessageWithEncoding(text, coding); err != nil {
		s.t.Fatal(err)
	}
	if reference != 0 {
		d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagUserMessageReference, Data: binary.BigEndian.AppendUint16(nil, reference)})
	}
	return s.Deliver(d)
}

// Lost is the status of a deliver_sm that nobody has answered.
const Lost = data.CommandStatusType(-1)

// Deliver sends a deliver_sm to whoever is bound, as soon as somebody is, and
// returns the status of the answer.
func (s *SMSC) Deliver(d *pdu.DeliverSM) data.CommandStatusType {
	s.t.Helper()
	return s.begin(d)()
}

// begin sends a deliver_sm, and returns what waits for its answer.
func (s *SMSC) begin(d *pdu.DeliverSM) func() data.CommandStatusType {
	s.t.Helper()
	look, late := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer look.Stop()
	for {
		if p := s.bound(); p != nil {
			return p.deliver(d)
		}
		select {
		case <-look.C:
		case <-late:
			s.t.Fatal("nobody is bound to the SMSC for a minute")
		}
	}
}

// Bound reports whether somebody is bound now.
func (s *SMSC) Bound() bool { return s.bound() != nil }

func (s *SMSC) bound() *peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.peers {
		if p.bound {
			return p
		}
	}
	return nil
}

// Raw writes octets to whoever is bound.
func (s *SMSC) Raw(octets []byte) {
	if p := s.bound(); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		_, _ = p.conn.Write(octets) // who is gone reads nothing
	}
}

func (s *SMSC) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p := &peer{smsc: s, conn: conn, answers: map[int32]chan data.CommandStatusType{}, gone: make(chan struct{})}
		s.mu.Lock()
		s.peers[p] = true
		s.mu.Unlock()
		go p.serve()
	}
}

// A peer is one connection.
type peer struct {
	smsc  *SMSC
	conn  net.Conn
	bound bool
	gone  chan struct{}

	mu      sync.Mutex
	last    int32
	answers map[int32]chan data.CommandStatusType
}

func (p *peer) send(q pdu.PDU) {
	b := pdu.NewBuffer(nil)
	q.Marshal(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.conn.Write(b.Bytes()) // who is gone reads nothing
}

func (p *peer) deliver(d *pdu.DeliverSM) func() data.CommandStatusType {
	answer := make(chan data.CommandStatusType, 1)
	p.mu.Lock()
	p.last++
	d.SequenceNumber = p.last
	p.answers[p.last] = answer
	p.mu.Unlock()
	p.send(d)
	return func() data.CommandStatusType {
		select {
		case status := <-answer:
			return status
		case <-p.gone:
			return Lost
		case <-time.After(time.Minute):
			return Lost
		}
	}
}

func (p *peer) serve() {
	defer func() {
		p.conn.Close()
		close(p.gone)
		p.smsc.mu.Lock()
		delete(p.smsc.peers, p)
		p.smsc.mu.Unlock()
	}()
	for {
		q, err := pdu.Parse(p.conn)
		if err != nil {
			return
		}
		switch q := q.(type) {
		case *pdu.BindRequest:
			r := q.GetResponse().(*pdu.BindResp)
			r.SystemID = "smsctest"
			if q.SystemID != SystemID || q.Password != Password || q.BindingType != pdu.Transceiver {
				r.CommandStatus = data.ESME_RINVPASWD
				p.smsc.mu.Lock()
				p.smsc.rejected++
				p.smsc.mu.Unlock()
				p.send(r)
				return
			}
			p.smsc.mu.Lock()
			p.bound = true
			p.smsc.binds++
			p.smsc.mu.Unlock()
			p.send(r)
		case *pdu.EnquireLink:
			p.smsc.mu.Lock()
			p.smsc.enquired++
			p.smsc.mu.Unlock()
			p.send(q.GetResponse())
		case *pdu.Unbind:
			p.send(q.GetResponse())
			return
		case *pdu.SubmitSM:
			if !p.submit(q) {
				return
			}
		case *pdu.DeliverSMResp:
			p.mu.Lock()
			if answer := p.answers[q.SequenceNumber]; answer != nil {
				answer <- q.CommandStatus
				delete(p.answers, q.SequenceNumber)
			}
			p.mu.Unlock()
		case *pdu.GenericNack:
		}
	}
}

// submit judges a message. It reports whether the connection goes on.
func (p *peer) submit(q *pdu.SubmitSM) bool {
	s := p.smsc
	body, err := q.Message.GetMessage()
	if err != nil {
		s.t.Errorf("text of submit_sm: %v", err)
	}
	r := q.GetResponse().(*pdu.SubmitSMResp)
	s.mu.Lock()
	verdict := Accept
	if s.judge != nil {
		verdict = s.judge(q.DestAddr.Address(), body)
	}
	if !p.bound {
		r.CommandStatus = data.ESME_RINVBNDSTS
		s.mu.Unlock()
		p.send(r)
		return true
	}
	switch verdict {
	case Throttle:
		r.CommandStatus = data.ESME_RTHROTTLED
	case Refuse:
		r.CommandStatus = data.ESME_RINVDSTADR
	case Drop:
		s.mu.Unlock()
		return false
	default:
		m := Message{
			ID: fmt.Sprintf("%08x", len(s.accepted)+0x1a0), To: q.DestAddr.Address(), Plan: q.DestAddr.Npi(),
			From: q.SourceAddr.Address(), Text: body, Validity: q.ValidityPeriod,
		}
		if f := q.OptionalParameters[pdu.TagUserMessageReference]; len(f.Data) == 2 {
			m.Reference = binary.BigEndian.Uint16(f.Data)
		}
		if q.RegisteredDelivery != data.SM_SMSC_RECEIPT_REQUESTED {
			s.t.Errorf("submit_sm asks for no receipt: registered_delivery %d", q.RegisteredDelivery)
		}
		s.accepted = append(s.accepted, m)
		s.arrived <- m
		r.MessageID = m.ID
		if early := s.early; early != nil {
			s.mu.Unlock()
			early(m)
			s.mu.Lock()
		}
	}
	s.mu.Unlock()
	switch verdict {
	case Swallow:
		return true
	case AcceptDrop:
		return false
	}
	p.send(r)
	return true
}
