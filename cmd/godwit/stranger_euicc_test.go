package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"godwit/lpa"
	"godwit/rsp"
	"godwit/tlv"
)

// A vpcdReader is the reader's side of the virtual reader protocol, for a
// foreign card that dials in. It does nothing but carry APDUs: [lpa.Card].
type vpcdReader struct{ net.Conn }

func (r vpcdReader) send(body []byte) error {
	_, err := r.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
	return err
}

func (r vpcdReader) Transmit(apdu []byte) ([]byte, error) {
	if err := r.send(apdu); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("the card does not answer: %w", err)
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, answer)
	return answer, err
}

// TestStrangerEUICC downloads from our SM-DP+ with our LPA into an eUICC of
// others, which verifies what both of them send.
func TestStrangerEUICC(t *testing.T) {
	line := stranger(t, "GODWIT_FOREIGN_EUICC", "")
	set := sgp26(t, sgp26NIST)
	p := startServerAs(t, set)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n := startStranger(t, foreign(context.Background(), line, port))
	go func() {
		<-n.ended // one that never dials must not keep us waiting
		l.Close()
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatalf("no card came: %v\n%s", err, n.output)
	}
	t.Cleanup(func() { conn.Close() })
	reader := vpcdReader{conn}
	if err := reader.send([]byte{1}); err != nil { // power on
		t.Fatal(err)
	}
	chip, err := lpa.OpenChip(reader)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := set.Roots()
	if err != nil {
		t.Fatal(err)
	}
	assistant := &lpa.LPA{Chip: chip, HTTP: lpa.NewHTTPClient(lpa.Trust{Roots: roots})}
	eid, err := chip.EID()
	if err != nil {
		t.Fatal(err)
	}
	r := book(t, p, "GenerateMatchingId", "true")
	code, err := rsp.ParseActivationCode("LPA:" + r.ActivationCode)
	if err != nil {
		t.Fatal(err)
	}
	result, err := assistant.Download(t.Context(), lpa.FromActivationCode(code))
	status := "installed"
	if e, ok := errors.AsType[*lpa.Error](err); ok && e.Step == lpa.StepLoad && errors.Is(err, tlv.ErrTruncated) {
		// The eUICC took every segment and answered the last one with a result that
		// is not whole: then nobody can vouch for the installation.
		t.Logf("the eUICC's installation result cannot be read: %v", err)
		status = "downloaded"
	} else if err != nil {
		t.Fatal(err)
	} else if result.NotifyError != nil {
		t.Fatal(result.NotifyError)
	}
	waitFor(t, p, r, status)
	if r.EID != string(eid) {
		t.Errorf("the reservation names eUICC %s, want %s", r.EID, eid)
	}
}
