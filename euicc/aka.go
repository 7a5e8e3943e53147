package euicc

import (
	"errors"
	"slices"

	"godwit/milenage"
	"godwit/saip"
)

// Contexts of AUTHENTICATE. 3GPP TS 31.102, 7.1.2.
const (
	contextGSM = 0x80
	context3G  = 0x81
)

// pinOfAuthenticate is the code that AUTHENTICATE asks for: the application's
// PIN, global key reference 01.
const pinOfAuthenticate = 0x01

// authenticate answers a challenge of the network. The sequence number is
// stored before the answer is given: no challenge is answered twice.
func (c *Card) authenticate(ch *channel, cmd *command) ([]byte, error) {
	if cmd.p1 != 0 {
		return nil, refusal(swWrongP1P2)
	}
	app := ch.app
	if ch.sys == nil || app == nil || app.AKA == nil || app.AKA.USIM == nil {
		return nil, refusal(swConditions)
	}
	if ch.sys.pin(app, pinOfAuthenticate) != nil && !c.presented(ch.sys, app, pinOfAuthenticate) {
		return nil, refusal(swSecurity)
	}
	switch cmd.p2 {
	case context3G:
		if len(cmd.data) != 34 || cmd.data[0] != 16 || cmd.data[17] != 16 {
			return nil, refusal(swWrongLength)
		}
		return c.authenticate3G(ch.sys, app, cmd.data[1:17], cmd.data[18:])
	case contextGSM:
		if len(cmd.data) != 17 || cmd.data[0] != 16 {
			return nil, refusal(swWrongLength)
		}
		if !gsmAccess(app) {
			return nil, refusal(swFunction)
		}
		res, ck, ik, _ := app.AKA.USIM.Functions.F2345([16]byte(cmd.data[1:]))
		return append(append([]byte{4}, sres(res)...), append([]byte{8}, kc(ck, ik)...)...), nil
	}
	return nil, refusal(swWrongP1P2)
}

func (c *Card) authenticate3G(sys *system, app *saip.File, rand, autn []byte) ([]byte, error) {
	usim := *app.AKA.USIM // changes its sequence numbers only when they are stored
	answer, err := usim.Authenticate(rand, autn)
	if sync, ok := errors.AsType[*milenage.SyncError](err); ok {
		return append([]byte{0xDC, 14}, sync.AUTS[:]...), nil
	}
	if err != nil {
		return nil, refusal(swAuthentication)
	}
	err = c.edit(sys, func(p *profile) {
		if p.Sequence == nil {
			p.Sequence = seqMap{}
		}
		p.Sequence[sys.akas[app.AKA]] = slices.Clone(usim.SEQ[:])
	})
	if err != nil {
		return nil, err
	}
	*app.AKA.USIM = usim
	out := []byte{0xDB}
	for _, part := range [][]byte{answer.RES, answer.CK, answer.IK} {
		out = append(append(out, byte(len(part))), part...)
	}
	if gsmAccess(app) {
		out = append(append(out, 8), kc(answer.CK, answer.IK)...)
	}
	return out, nil
}

// gsmAccess reports whether service 27 (GSM access) of EF.UST is there.
func gsmAccess(app *saip.File) bool {
	ust := child(app, 0x6F38)
	if ust == nil {
		return false
	}
	content := ust.Content().Data
	return len(content) > 3 && content[3]&0x04 != 0
}

// sres and kc are the conversions c2 and c3 of 3GPP TS 33.102, 6.8.1.2.
func sres(res []byte) []byte {
	var padded [16]byte
	copy(padded[:], res)
	out := make([]byte, 4)
	for i, o := range padded {
		out[i%4] ^= o
	}
	return out
}

func kc(ck, ik []byte) []byte {
	out := make([]byte, 8)
	for _, key := range [][]byte{ck, ik} {
		for i, o := range key[:min(len(key), 16)] {
			out[i%8] ^= o
		}
	}
	return out
}
