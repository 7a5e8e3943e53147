package euicc

import (
	"crypto/subtle"

	"godwit/saip"
)

// code runs the five commands on PINs. ETSI TS 102 221, 11.1.9 to 11.1.13.
func (c *Card) code(ch *channel, cmd *command) error {
	if ch.sys == nil {
		return refusal(swConditions)
	}
	ref := cmd.p2
	pin := ch.sys.pin(ch.dir, ref)
	if pin == nil {
		return refusal(swDataNotFound)
	}
	name := ch.sys.codes[pin]
	if cmd.p1 != 0 && (cmd.ins == insVerify || cmd.ins == insChangePIN || cmd.ins == insUnblockPIN) {
		return refusal(swWrongP1P2)
	}
	if len(cmd.data) == 0 && (cmd.ins == insVerify || cmd.ins == insUnblockPIN) {
		return c.attempts(ch, cmd.ins, pin)
	}
	want := 8
	if cmd.ins == insChangePIN || cmd.ins == insUnblockPIN {
		want = 16
	}
	if len(cmd.data) != want {
		return refusal(swWrongLength)
	}
	if cmd.ins == insUnblockPIN {
		return c.unblock(ch.sys, pin, cmd.data)
	}
	enabled := pin.Enabled()
	switch {
	case pin.Left == 0:
		return refusal(swBlocked)
	case cmd.ins == insEnablePIN && enabled, cmd.ins == insDisablePIN && !enabled,
		cmd.ins == insChangePIN && !enabled, cmd.ins == insVerify && !enabled && !administrative(ref):
		return refusal(swInvalidated)
	}
	if err := c.compare(ch.sys, pin, [8]byte(cmd.data)); err != nil {
		delete(c.pins, name)
		return err
	}
	next := *pin
	next.Left = next.Max
	switch cmd.ins {
	case insChangePIN:
		next.Value = [8]byte(cmd.data[8:])
	case insDisablePIN:
		next.Attributes &^= pinEnabled
	case insEnablePIN:
		next.Attributes |= pinEnabled
	}
	if err := c.writeCode(ch.sys, pin, next); err != nil {
		return err
	}
	c.pins[name] = true
	return nil
}

// attempts answers how many are left, as an empty VERIFY asks.
func (c *Card) attempts(ch *channel, ins byte, pin *saip.Code) error {
	left := pin.Left
	if ins == insUnblockPIN {
		puk := ch.sys.fs.PUKs[pin.PUK]
		if puk == nil {
			return refusal(swDataNotFound)
		}
		left = puk.Left
	}
	if left == 0 {
		return refusal(swBlocked)
	}
	return refusal(swAttempts | uint16(left))
}

// compare checks a presented value. The attempt is taken off before the
// comparison, so that cutting the power does not give it back.
func (c *Card) compare(sys *system, k *saip.Code, value [8]byte) error {
	next := *k
	next.Left--
	if err := c.writeCode(sys, k, next); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(k.Value[:], value[:]) == 1 {
		return nil
	}
	if k.Left == 0 {
		return refusal(swBlocked)
	}
	return refusal(swAttempts | uint16(k.Left))
}

// unblock gives a PIN a new value against its PUK.
func (c *Card) unblock(sys *system, pin *saip.Code, data []byte) error {
	puk := sys.fs.PUKs[pin.PUK]
	if puk == nil {
		return refusal(swDataNotFound)
	}
	if puk.Left == 0 {
		return refusal(swBlocked)
	}
	if err := c.compare(sys, puk, [8]byte(data)); err != nil {
		return err
	}
	restored := *puk
	restored.Left = puk.Max
	if err := c.writeCode(sys, puk, restored); err != nil {
		return err
	}
	next := *pin
	next.Value, next.Left = [8]byte(data[8:]), pin.Max
	next.Attributes |= pinEnabled
	if err := c.writeCode(sys, pin, next); err != nil {
		return err
	}
	c.pins[sys.codes[pin]] = true
	return nil
}

// writeCode stores what has become of a code.
func (c *Card) writeCode(sys *system, k *saip.Code, next saip.Code) error {
	if *k == next {
		return nil
	}
	err := c.edit(sys, func(p *profile) {
		if p.Codes == nil {
			p.Codes = codeMap{}
		}
		p.Codes[sys.codes[k]] = code{Value: next.Value[:], Attributes: next.Attributes, Left: next.Left}
	})
	if err != nil {
		return err
	}
	*k = next
	return nil
}

// pinEnabled is the bit of a code's attributes that says that it is to be
// presented.
const pinEnabled byte = 0x01

// A code is what has changed of a PIN or PUK.
type code struct {
	Value      []byte `json:"value"`
	Attributes byte   `json:"attributes"`
	Left       byte   `json:"left"`
}
