package smsc

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unicode/utf8"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// FuzzPDU: no octets of an SMSC break anything, and what is read as a device's
// message is text that databases take.
func FuzzPDU(f *testing.F) {
	add := func(p pdu.PDU) {
		b := pdu.NewBuffer(nil)
		p.Marshal(b)
		f.Add(b.Bytes())
	}
	d := pdu.NewDeliverSM().(*pdu.DeliverSM)
	if err := d.Message.SetMessageWithEncoding("id:1 stat:DELIVRD", data.GSM7BIT); err != nil {
		f.Fatal(err)
	}
	d.RegisterOptionalParam(pdu.Field{Tag: pdu.TagUserMessageReference, Data: []byte{1, 2}})
	add(d)
	d.EsmClass = data.SM_SMSC_DLV_RCPT_TYPE
	add(d)
	d.EsmClass = data.SM_UDH_GSM
	add(d)
	add(pdu.NewSubmitSMResp())
	add(pdu.NewBindTransceiverResp())
	add(pdu.NewGenericNack())
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) >= 4 {
			binary.BigEndian.PutUint32(octets, uint32(len(octets)))
		}
		p, _, raw, err := readPDU(bytes.NewReader(octets))
		if err != nil {
			return
		}
		if d, ok := p.(*pdu.DeliverSM); ok {
			in := incoming(d, raw)
			if !utf8.ValidString(in.Text) || bytes.IndexByte([]byte(in.Text), 0) >= 0 {
				t.Errorf("text %q", in.Text)
			}
		}
	})
}
