package euicc

import "godwit/tlv"

// A toolkit is the card's side of the application toolkit, as far as profile
// changes need it: one proactive command, REFRESH. ETSI TS 102 223, 6.4.7.
type toolkit struct {
	terminal bool   // the terminal has said what it can do, so it has a toolkit
	command  []byte // waits to be fetched
	busy     bool   // fetched, and not yet answered
}

// refresh asks the device to start over with the profile that is enabled now.
// Qualifier 4 is a reset of the UICC. SGP.22 v2.5, 3.2.1.
//
// A terminal that has sent no TERMINAL PROFILE has no toolkit and gets no
// proactive commands (ETSI TS 102 223, 5.2): simple readers would take 91xx for
// a failure. It resets the card itself.
func (t *toolkit) refresh() {
	if !t.terminal {
		return
	}
	t.command = tlv.AppendNested(nil, 0xD0, func(b []byte) []byte {
		b = tlv.Append(b, 0x81, []byte{0x01, 0x01, 0x04}) // command details: REFRESH
		return tlv.Append(b, 0x82, []byte{0x81, 0x82})    // from the UICC to the terminal
	})
}

// waiting returns the length of the command to be fetched, 0 for none.
func (t *toolkit) waiting() int { return len(t.command) }

// toolkitCommand: ETSI TS 102 221, 11.2.
func (c *Card) toolkitCommand(cmd *command) ([]byte, error) {
	if cmd.p1 != 0 || cmd.p2 != 0 {
		return nil, refusal(swWrongP1P2)
	}
	switch cmd.ins {
	case insTerminalProfile:
		if len(cmd.data) == 0 {
			return nil, refusal(swWrongLength)
		}
		c.toolkit.terminal = true
		return nil, nil
	case insFetch:
		if c.toolkit.command == nil {
			return nil, refusal(swConditions)
		}
		command := c.toolkit.command
		c.toolkit.command, c.toolkit.busy = nil, true
		return command, nil
	case insTerminalResponse:
		if !c.toolkit.busy {
			return nil, refusal(swConditions)
		}
		c.toolkit.busy = false
		return nil, c.terminalResponse(cmd.data)
	}
	// ENVELOPE: there are no toolkit applications that could take it.
	return nil, refusal(swConditions)
}

// terminalResponse reads the device's result. Whatever it is, the profile has
// changed already; a device that could not refresh will have to reset the card.
func (c *Card) terminalResponse(data []byte) error {
	r := tlv.NewReader(data)
	var details, result bool
	for !r.Empty() {
		switch e := r.Next(); e.Tag &^ 0x80 {
		case 0x01:
			details = len(e.Value) == 3 && e.Value[1] == 0x01
		case 0x03:
			result = len(e.Value) > 0
		}
	}
	if r.Err() != nil || !details || !result {
		return refusal(swWrongData)
	}
	return nil
}
