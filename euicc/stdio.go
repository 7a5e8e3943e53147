package euicc

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxLine bounds one line of the dialogue: the longest APDU in hexadecimal, and
// progress reports with an icon in them.
const maxLine = 1 << 20

// A stdioRequest is what lpac's stdio driver asks of the card. Lines of other
// types are lpac's own output.
type stdioRequest struct {
	Type    string `json:"type"`
	Payload struct {
		Func  string  `json:"func"`
		Param *string `json:"param"`
	} `json:"payload"`
}

type stdioAnswer struct {
	Type    string       `json:"type"`
	Payload stdioPayload `json:"payload"`
}

type stdioPayload struct {
	Code int    `json:"ecode"`
	Data string `json:"data,omitempty"`
}

// ServeStdio answers the stdio APDU driver of lpac: it reads the lines that lpac
// writes, answers those that are for the card on answers, and copies the others
// to output. It returns when lpac has ended its output.
func (c *Card) ServeStdio(lines io.Reader, answers, output io.Writer) error {
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(make([]byte, 0, 4096), maxLine)
	for scanner.Scan() {
		var q stdioRequest
		if err := json.Unmarshal(scanner.Bytes(), &q); err != nil || q.Type != "apdu" {
			if _, err := fmt.Fprintf(output, "%s\n", scanner.Bytes()); err != nil {
				return err
			}
			continue
		}
		param := ""
		if q.Payload.Param != nil {
			param = *q.Payload.Param
		}
		answer, err := json.Marshal(stdioAnswer{Type: "apdu", Payload: c.stdio(q.Payload.Func, param)})
		if err != nil {
			return err
		}
		if _, err := answers.Write(append(answer, '\n')); err != nil {
			return fmt.Errorf("answer the APDU driver: %w", err)
		}
	}
	return scanner.Err()
}

// stdio performs one function. A negative code is a failure.
func (c *Card) stdio(function, param string) stdioPayload {
	failed := stdioPayload{Code: -1}
	octets, err := hex.DecodeString(param)
	if err != nil {
		return failed
	}
	switch function {
	case "connect":
		if c.Reset() != nil {
			return failed
		}
		return stdioPayload{}
	case "disconnect":
		return stdioPayload{}
	case "logic_channel_open":
		n, err := c.OpenChannel(octets)
		if err != nil {
			return failed
		}
		return stdioPayload{Code: n}
	case "logic_channel_close":
		// The channel number comes as hexadecimal or as a plain number: the same
		// up to nine.
		n, err := strconv.ParseUint(param, 16, 8)
		if err != nil || c.CloseChannel(int(n)) != nil {
			return failed
		}
		return stdioPayload{}
	case "transmit":
		response, err := c.Transmit(octets)
		if err != nil {
			return failed
		}
		return stdioPayload{Data: hex.EncodeToString(response)}
	}
	return failed
}

// errChannel says that the card refused to open or close a channel.
var errChannel = errors.New("the card refused")

// OpenChannel opens a logical channel and selects an application on it, as a
// reader with such a function does.
func (c *Card) OpenChannel(aid []byte) (int, error) {
	r, err := c.Transmit([]byte{0x00, insManageChannel, 0x00, 0x00, 0x01})
	if err != nil {
		return 0, err
	}
	if len(r) != 3 {
		return 0, fmt.Errorf("open a logical channel: %w with %X", errChannel, r)
	}
	n := int(r[0])
	if len(aid) == 0 || len(aid) > 16 {
		return 0, errors.Join(fmt.Errorf("an application identifier has 1 to 16 octets, not %d", len(aid)), c.CloseChannel(n))
	}
	selected := append([]byte{class(n), insSelect, 0x04, 0x00, byte(len(aid))}, aid...)
	r, err = c.Transmit(selected)
	if err != nil {
		return 0, err
	}
	if sw := r[len(r)-2]; sw != 0x90 && sw != 0x61 {
		return 0, errors.Join(fmt.Errorf("select %X: %w with %X", aid, errChannel, r), c.CloseChannel(n))
	}
	return n, nil
}

// CloseChannel closes a logical channel.
func (c *Card) CloseChannel(n int) error {
	r, err := c.Transmit([]byte{0x00, insManageChannel, 0x80, byte(n)})
	if err != nil {
		return err
	}
	if len(r) != 2 || r[0] != 0x90 && r[0] != 0x91 {
		return fmt.Errorf("close logical channel %d: %w with %X", n, errChannel, r)
	}
	return nil
}

// class returns the class octet of an interindustry command on a channel.
func class(n int) byte {
	if n < furtherChannelBase {
		return byte(n)
	}
	return 0x40 | byte(n-furtherChannelBase)
}
