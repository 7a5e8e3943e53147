package euicc

import (
	"bytes"

	"godwit/iot"
	"godwit/rsp"
	"godwit/saip"
	"godwit/tlv"
)

// A channel is one logical channel: what is selected on it, and what it is in
// the middle of.
type channel struct {
	isdr    bool       // the ISD-R is selected
	sys     *system    // the file system of the enabled profile, nil without one
	app     *saip.File // current application, nil for none
	dir     *saip.File // current directory
	file    *saip.File // current EF, nil for none
	record  int        // record pointer, 0 for none
	chain   *chain     // STORE DATA blocks that have come
	pending []byte     // answer not yet fetched
}

// A chain is a command of ES10 that is arriving in blocks.
type chain struct {
	next byte
	data []byte
}

// maxChain bounds a command: 256 blocks of 255 octets.
const maxChain = 256 * 255

// ATR returns the answer to reset: T=0, a UICC by its T=15 octets, with
// eUICC-related functions. ETSI TS 102 221, 6.3.
func ATR() []byte {
	atr := []byte{
		0x3B, 0x9F, 0x96, 0xC0, 0x0A, 0x3F, 0xC7, 0x82,
		0x80, 0x31, 0xE0, 0x73, 0xFE, 0x21, 0x1B, 'G', 'o', 'd', 'w', 'i', 't', 0x01, 0x00,
	}
	var check byte
	for _, o := range atr[1:] {
		check ^= o
	}
	return append(atr, check)
}

// ATR returns the card's answer to reset.
func (c *Card) ATR() []byte { return ATR() }

// Reset powers the card down and up again. Everything that needs power is gone:
// channels, codes presented, the provisioning session. An installation that was
// under way has failed, and the card says so in a notification.
func (c *Card) Reset() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return c.broken
	}
	c.powerDown()
	c.powered = true
	if c.state.Loading != nil {
		if err := c.interrupted(); err != nil {
			return err
		}
	}
	c.channels[basicChannel] = &channel{}
	c.home(c.channels[basicChannel])
	return nil
}

// PowerDown takes the power away without closing the card.
func (c *Card) PowerDown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powerDown()
}

func (c *Card) powerDown() {
	c.powered = false
	c.session, c.fresh = nil, nil
	c.toolkit = toolkit{}
	c.pins = map[string]bool{}
	c.channels = [maxChannels]*channel{}
}

// home selects the MF of the enabled profile, if there is one.
func (c *Card) home(ch *channel) {
	*ch = channel{}
	if sys := c.system(); sys != nil {
		ch.sys, ch.dir = sys, sys.fs.MF
	}
}

// manageChannel opens and closes logical channels. ETSI TS 102 221, 11.1.17.
func (c *Card) manageChannel(ch *channel, cmd *command) ([]byte, error) {
	n := int(cmd.p2)
	switch cmd.p1 {
	case 0x00:
		if n == 0 {
			for n = 1; n < maxChannels && c.channels[n] != nil; n++ {
			}
		}
		if n >= maxChannels || c.channels[n] != nil {
			return nil, refusal(swNoChannel)
		}
		if cmd.p2 == 0 && cmd.le < 0 {
			return nil, refusal(swWrongLength)
		}
		c.channels[n] = new(channel)
		// On the basic channel a new one begins at the MF; opened from another
		// channel it begins where that one stands.
		if cmd.channel == basicChannel {
			c.home(c.channels[n])
		} else {
			*c.channels[n] = channel{isdr: ch.isdr, sys: ch.sys, app: ch.app, dir: ch.dir}
		}
		if cmd.p2 != 0 {
			return nil, nil
		}
		return []byte{byte(n)}, nil
	case 0x80:
		if n == basicChannel {
			return nil, refusal(swWrongP1P2)
		}
		if n >= maxChannels || c.channels[n] == nil {
			return nil, refusal(swNoChannel)
		}
		c.channels[n] = nil
		return nil, nil
	}
	return nil, refusal(swWrongP1P2)
}

// selectFile finds an application by its name or a file by identifier or path.
// ETSI TS 102 221, 11.1.1.
func (c *Card) selectFile(ch *channel, cmd *command) ([]byte, error) {
	var answer bool
	switch cmd.p2 &^ 0x60 { // bits 7 and 6: activation of an application, termination
	case 0x00, 0x04:
		answer = true
	case 0x0C:
	default:
		return nil, refusal(swWrongP1P2)
	}
	if cmd.p1 == 0x04 {
		return c.selectName(ch, cmd.data, answer)
	}
	if ch.sys == nil {
		return nil, refusal(swFileNotFound)
	}
	f, err := ch.find(cmd.p1, cmd.data)
	if err != nil {
		return nil, err
	}
	ch.enter(f)
	if !answer {
		return nil, nil
	}
	return ch.sys.fs.FCP(f), nil
}

// selectName selects the ISD-R or an application of the enabled profile. A name
// may be cut short: the first that begins with it is taken.
func (c *Card) selectName(ch *channel, name []byte, answer bool) ([]byte, error) {
	if len(name) < 5 || len(name) > 16 {
		return nil, refusal(swWrongData)
	}
	if bytes.HasPrefix(rsp.ISDR, name) {
		*ch = channel{isdr: true}
		if !answer {
			return nil, nil
		}
		return c.fci(), nil
	}
	sys := c.system()
	if sys == nil {
		return nil, refusal(swFileNotFound)
	}
	for _, adf := range sys.fs.ADFs {
		if !bytes.HasPrefix(adf.AID, name) {
			continue
		}
		*ch = channel{sys: sys, app: adf, dir: adf}
		if !answer {
			return nil, nil
		}
		return sys.fs.FCP(adf), nil
	}
	return nil, refusal(swFileNotFound)
}

// fci is the answer to SELECT of the ISD-R. SGP.22 v2.5, 5.7.1.
func (c *Card) fci() []byte {
	return tlv.AppendNested(nil, 0x6F, func(b []byte) []byte {
		b = tlv.Append(b, 0x84, rsp.ISDR)
		b = tlv.AppendNested(b, 0xA5, func(b []byte) []byte {
			return tlv.Append(b, 0x9F65, []byte{0xFF}) // longest data field of a command
		})
		template := rsp.ISDRTemplate{SVN: c.cfg.SVN}
		b = template.Append(b)
		if c.cfg.IoT {
			b = (&iot.ISDRTemplate{Enabled: c.state.enabled() != nil}).Append(b)
		}
		return b
	})
}

// storeData takes a block of a command to the ISD-R. GlobalPlatform Card
// Specification, 11.11; SGP.22 v2.5, 5.7.2.
func (c *Card) storeData(ch *channel, cmd *command) ([]byte, error) {
	if !ch.isdr {
		return nil, refusal(swInstruction)
	}
	last := cmd.p1 == 0x91
	if !last && cmd.p1 != 0x11 {
		ch.chain = nil
		return nil, refusal(swWrongP1P2)
	}
	if len(cmd.data) == 0 {
		ch.chain = nil
		return nil, refusal(swWrongLength)
	}
	if cmd.p2 == 0 {
		ch.chain = new(chain) // block 0 begins a new command, whatever was before
	}
	if ch.chain == nil || ch.chain.next != cmd.p2 {
		ch.chain = nil
		return nil, refusal(swWrongP1P2)
	}
	if len(ch.chain.data)+len(cmd.data) > maxChain {
		ch.chain = nil
		return nil, refusal(swNoSpace)
	}
	ch.chain.data = append(ch.chain.data, cmd.data...)
	ch.chain.next++
	if !last {
		if ch.chain.next == 0 { // block numbers are used up
			ch.chain = nil
			return nil, refusal(swNoSpace)
		}
		return nil, nil
	}
	data := ch.chain.data
	ch.chain = nil
	return c.es10(data)
}
