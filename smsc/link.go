package smsc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
	"golang.org/x/sync/errgroup"
)

// A link is one bound connection.
type link struct {
	options Options
	conn    net.Conn
	in      *bufio.Reader

	write sync.Mutex // one message at a time goes out

	mu      sync.Mutex
	last    int32 // sequence number
	waiting map[int32]chan pdu.PDU
	gone    chan struct{} // closed when no answer can come any more
}

func newLink(conn net.Conn, o Options) *link {
	return &link{options: o, conn: conn, in: bufio.NewReader(conn), waiting: map[int32]chan pdu.PDU{}, gone: make(chan struct{})}
}

// longest is the largest PDU that is read. A deliver_sm with everything that
// the protocol allows is far below.
const longest = 64 << 10

// errUnknown is a PDU of a sort that SMPP v3.4 does not have.
var errUnknown = errors.New("unknown command_id")

// readPDU reads one PDU. With errUnknown the head is valid and the stream is in
// order; after any other error it is lost.
func readPDU(r io.Reader) (p pdu.PDU, head pdu.Header, raw []byte, err error) {
	var first [4]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return nil, head, nil, err
	}
	n := binary.BigEndian.Uint32(first[:])
	if n < data.PDU_HEADER_SIZE || n > longest {
		return nil, head, nil, fmt.Errorf("command_length %d is not within %d and %d", n, data.PDU_HEADER_SIZE, longest)
	}
	raw = make([]byte, n)
	copy(raw, first[:])
	if _, err := io.ReadFull(r, raw[4:]); err != nil {
		return nil, head, nil, err
	}
	head = pdu.ParseHeader([16]byte(raw[:16]))
	p, err = parse(raw)
	return p, head, raw, err
}

// parse reads a whole PDU. The library was not written for hostile octets: what
// breaks it breaks this link and no more.
func parse(raw []byte) (p pdu.PDU, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			p, err = nil, fmt.Errorf("malformed PDU: %v", broken)
		}
	}()
	id := data.CommandIDType(int32(binary.BigEndian.Uint32(raw[4:])))
	if _, err := pdu.CreatePDUFromCmdID(id); err != nil {
		return nil, errUnknown
	}
	// Refusals may end after the head, whatever the sort of answer (SMPP v3.4,
	// 4.1.6); the library wants a body of some.
	if len(raw) == data.PDU_HEADER_SIZE && id == data.BIND_TRANSCEIVER_RESP {
		raw = append(bytes.Clone(raw), 0)
		binary.BigEndian.PutUint32(raw, uint32(len(raw)))
	}
	p, err = pdu.Parse(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("malformed PDU: %w", err)
	}
	return p, nil
}

// send writes a PDU. Where it fails the PDU has not gone out as a whole, so
// that nobody acts on it.
func (l *link) send(p pdu.PDU) error {
	buffer := pdu.NewBuffer(nil)
	p.Marshal(buffer)
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.options.Patience)); err != nil {
		return err
	}
	_, err := l.conn.Write(buffer.Bytes())
	if err != nil {
		l.conn.Close() // half a PDU has gone out: nothing after it could be read
	}
	return err
}

// bind presents us to the SMSC. SMPP v3.4, 4.1.5.
func (l *link) bind() error {
	q := pdu.NewBindRequest(pdu.Transceiver)
	q.SystemID, q.Password, q.SystemType = l.options.SystemID, string(l.options.Password), l.options.SystemType
	q.SequenceNumber = l.number()
	if err := l.conn.SetReadDeadline(time.Now().Add(l.options.Patience)); err != nil {
		return err
	}
	if err := l.send(q); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	_, head, _, err := readPDU(l.in)
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if head.CommandStatus != data.ESME_ROK {
		return fmt.Errorf("bind as %q: %w", l.options.SystemID, &Refusal{head.CommandStatus})
	}
	if head.CommandID != data.BIND_TRANSCEIVER_RESP {
		return fmt.Errorf("bind: answered with command_id %#x", uint32(head.CommandID))
	}
	return nil
}

// number returns the next sequence number: 1 to 0x7FFFFFFF. SMPP v3.4, 3.2.
func (l *link) number() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last++; l.last <= 0 {
		l.last = 1
	}
	return l.last
}

// expect makes a place for the answer to a request.
func (l *link) expect(number int32) chan pdu.PDU {
	answer := make(chan pdu.PDU, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[number] = answer
	return answer
}

func (l *link) forget(number int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, number)
}

// submit sends one message and waits for what the SMSC says.
func (l *link) submit(ctx context.Context, m Message) (string, error) {
	q, err := submission(m, l.options.Source)
	if err != nil {
		return "", err
	}
	q.SequenceNumber = l.number()
	answer := l.expect(q.SequenceNumber)
	defer l.forget(q.SequenceNumber)
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-l.gone:
		return "", ErrUnbound // nobody reads answers any more: do not even ask
	default:
	}
	if l.send(q) != nil {
		return "", ErrUnbound
	}
	late := time.NewTimer(l.options.Patience)
	defer late.Stop()
	select {
	case p := <-answer:
		return accepted(p)
	case <-l.gone:
		// What came just before the end counts.
		select {
		case p := <-answer:
			return accepted(p)
		default:
			return "", ErrDoubt
		}
	case <-late.C:
		l.conn.Close() // an SMSC that does not answer is none: bind anew
		return "", ErrDoubt
	case <-ctx.Done():
		return "", ErrDoubt
	}
}

func accepted(p pdu.PDU) (string, error) {
	if !p.IsOk() {
		return "", &Refusal{p.GetHeader().CommandStatus}
	}
	r, ok := p.(*pdu.SubmitSMResp)
	if !ok {
		return "", ErrDoubt // an answer that means nothing
	}
	return r.MessageID, nil
}

// run reads until the link ends. What devices have sent is kept by a few workers,
// so that a slow database does not keep answers from being read.
func (l *link) run(ctx context.Context) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	group, work := errgroup.WithContext(work)
	deliveries := make(chan *delivery, 4*l.options.Window)
	for range 4 {
		group.Go(func() error { return l.keep(work, deliveries) })
	}
	group.Go(func() error { return l.enquire(work) })
	group.Go(func() error {
		defer close(l.gone)
		defer close(deliveries)
		defer l.conn.Close()
		return l.read(work, deliveries)
	})
	stop := context.AfterFunc(work, func() { l.leave(ctx) })
	defer stop()
	err := group.Wait()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return errors.New("the connection was closed")
	}
	return err
}

// leave says good-bye, and closes the connection.
func (l *link) leave(ctx context.Context) {
	defer l.conn.Close()
	if ctx.Err() == nil {
		return // broken
	}
	q := pdu.NewUnbind()
	q.SetSequenceNumber(l.number())
	answer := l.expect(q.GetSequenceNumber())
	if l.send(q) != nil {
		return
	}
	select {
	case <-answer:
	case <-l.gone:
	case <-time.After(time.Second):
	}
}

// enquire asks after the link from time to time. Whether it is answered, read
// notices. SMPP v3.4, 4.11.
func (l *link) enquire(ctx context.Context) error {
	tick := time.NewTicker(l.options.Enquire)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			q := pdu.NewEnquireLink()
			q.SetSequenceNumber(l.number())
			if err := l.send(q); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		case <-l.gone:
			return nil
		}
	}
}

// A delivery is a deliver_sm on its way to Take.
type delivery struct {
	pdu *pdu.DeliverSM
	raw []byte
}

// read takes apart what comes, until the link ends.
func (l *link) read(ctx context.Context, deliveries chan<- *delivery) error {
	for {
		if err := l.conn.SetReadDeadline(time.Now().Add(l.options.Enquire + l.options.Patience)); err != nil {
			return err
		}
		p, head, raw, err := readPDU(l.in)
		switch {
		case errors.Is(err, errUnknown):
			slog.DebugContext(ctx, "SMSC sent an unknown PDU", "command_id", uint32(head.CommandID))
			if err := l.nack(head, data.ESME_RINVCMDID); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		switch p := p.(type) {
		case *pdu.DeliverSM:
			select {
			case deliveries <- &delivery{p, raw}:
			case <-ctx.Done():
				return ctx.Err()
			}
		case *pdu.EnquireLink:
			if err := l.send(p.GetResponse()); err != nil {
				return err
			}
		case *pdu.Unbind:
			_ = l.send(p.GetResponse()) // the link ends either way
			return errors.New("the SMSC unbound us")
		case *pdu.AlertNotification, *pdu.Outbind: // have no answer
		case *pdu.DataSM:
			r := p.GetResponse().(*pdu.DataSMResp)
			r.CommandStatus = data.ESME_RINVCMDID
			if err := l.send(r); err != nil {
				return err
			}
		default:
			if head.CommandID&answerBit == 0 {
				if err := l.nack(head, data.ESME_RINVCMDID); err != nil {
					return err
				}
				continue
			}
			l.mu.Lock()
			answer := l.waiting[head.SequenceNumber]
			delete(l.waiting, head.SequenceNumber)
			l.mu.Unlock()
			if answer != nil {
				answer <- p
			}
		}
	}
}

// answerBit is set in the command_id of every answer. SMPP v3.4, 5.1.2.1.
const answerBit = data.CommandIDType(-0x80000000)

func (l *link) nack(head pdu.Header, status data.CommandStatusType) error {
	if head.CommandID&answerBit != 0 {
		return nil // an answer is not answered
	}
	r := pdu.NewGenericNack().(*pdu.GenericNack)
	r.SequenceNumber, r.CommandStatus = head.SequenceNumber, status
	return l.send(r)
}

// keep has what devices sent kept, and confirms it.
func (l *link) keep(ctx context.Context, deliveries <-chan *delivery) error {
	for d := range deliveries {
		r := d.pdu.GetResponse().(*pdu.DeliverSMResp)
		in := incoming(d.pdu, d.raw)
		kind, result := "message", "kept"
		if in.Receipt != nil {
			kind = "receipt"
		}
		switch err := l.options.Take(ctx, in); {
		case err == nil:
		case errors.Is(err, ErrNobody):
			r.CommandStatus, result = data.ESME_RX_P_APPN, "nobody"
		default:
			if ctx.Err() == nil {
				slog.ErrorContext(ctx, "what came from the SMSC was not kept; it is to come again", "from", in.From.Digits, "err", err)
			}
			r.CommandStatus, result = data.ESME_RX_T_APPN, "trouble"
		}
		taken.WithLabelValues(kind, result).Inc()
		if err := l.send(r); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
