package carrier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"godwit/fault"
	"godwit/milenage"
	"godwit/saip"
)

// An OsmoHLR is the home location register of Osmocom, told by its control
// interface who its subscribers are.
//
// It makes authentication vectors for whoever has keys, whether or not the
// subscriber may attach. So one that may not has its keys taken away as well as
// its service, and is refused at the first message. Its sequence number is gone
// with the keys: after the next activation the USIM asks for resynchronisation,
// once (TS 33.102, 6.3.5).
//
// It has no notion of where a subscriber may roam or of how much data it may
// use: Networks stay with the switches, and a data limit arrives as Data off.
type OsmoHLR struct{ control *ctrl }

// NewOsmoHLR returns the OsmoHLR whose control interface is at an address,
// HOST:PORT with 4259 where none is given.
func NewOsmoHLR(address string) *OsmoHLR {
	if !strings.Contains(strings.TrimRight(address[strings.LastIndex(address, "]")+1:], "]"), ":") {
		address += ":4259"
	}
	return &OsmoHLR{newCTRL(address)}
}

// Close ends the connections.
func (h *OsmoHLR) Close() error {
	h.control.close()
	return nil
}

// osmoSubscriber is what info-all tells, without what does not concern us.
type osmoSubscriber struct {
	known  bool
	msisdn string
	cs, ps bool
	has2G  bool
	aud3g  string // as it is set, "" for none
}

// Errors of the control interface that mean something to us.
const (
	osmoUnknown  = "No such subscriber."
	osmoNotThere = "Subscriber doesn't exist."
	osmoExists   = "Subscriber already exists."
	osmoNoValue  = "Value failed verification."
	osmoFormat   = "Invalid format."
	osmoNoAlgo   = "Unknown auth algorithm."
)

func variable(s Subscriber, name string) string {
	return "subscriber.by-imsi-" + string(s.IMSI) + "." + name
}

func (h *OsmoHLR) read(ctx context.Context, s Subscriber) (is osmoSubscriber, err error) {
	text, err := h.control.get(ctx, variable(s, "info-all"))
	if refused, ok := errors.AsType[ctrlError](err); ok && string(refused) == osmoUnknown {
		return is, nil
	}
	if err != nil {
		return is, h.trouble(err)
	}
	return parseInfo(text), nil
}

// parseInfo reads the lines of info-all: a name, a tab, a value.
func parseInfo(text string) osmoSubscriber {
	is := osmoSubscriber{known: true}
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "\t")
		if ok {
			values[name] = value
		}
	}
	is.msisdn = values["msisdn"]
	is.cs, is.ps = values["nam_cs"] == "1", values["nam_ps"] == "1"
	is.has2G = values["aud2g.algo"] != ""
	if algorithm := values["aud3g.algo"]; algorithm != "" {
		is.aud3g = aud3g(algorithm, values["aud3g.k"], values["aud3g.opc"], values["aud3g.ind_bitlen"])
	}
	return is
}

// aud3g is the value of the variable of that name.
func aud3g(algorithm, k, opc, bits string) string {
	return strings.ToLower(strings.Join([]string{algorithm, k, "opc", opc, bits}, ","))
}

// keys returns the keys as OsmoHLR is told them.
func (s *Subscriber) osmoKeys() (string, error) {
	algorithm := "milenage"
	switch s.Algorithm {
	case saip.Milenage:
	case saip.TUAK:
		algorithm = "tuak" // OsmoHLR 1.5 does not know it and says so
	default:
		return "", fault.New(fault.Conflict, "OsmoHLR has no function set %d: profiles must use Milenage", int(s.Algorithm))
	}
	return aud3g(algorithm, hex.EncodeToString(s.K), hex.EncodeToString(s.OPc), fmt.Sprint(milenage.INDBits)), nil
}

// Apply tells the HLR what it does not have so yet. Keys are left alone where
// they are right, because setting them sets their sequence number to nothing.
func (h *OsmoHLR) Apply(ctx context.Context, s Subscriber) error {
	if err := s.check(); err != nil {
		return err
	}
	is, err := h.read(ctx, s)
	if err != nil {
		return err
	}
	if !s.Attach {
		return h.bar(ctx, s, is)
	}
	keys, err := s.osmoKeys()
	if err != nil {
		return err
	}
	if !is.known {
		if err := h.create(ctx, s); err != nil {
			return err
		}
		// OsmoHLR serves whom it creates.
		is = osmoSubscriber{known: true, cs: true, ps: true}
	}
	if is.has2G {
		if err := h.set(ctx, s, "aud2g", "none"); err != nil {
			return err
		}
	}
	if is.aud3g != keys {
		if err := h.set(ctx, s, "aud3g", keys); err != nil {
			return err
		}
	}
	if want := s.digits(); is.msisdn != want && want != "" {
		if err := h.set(ctx, s, "msisdn", want); err != nil {
			return err
		}
	}
	if is.cs != s.SMS {
		if err := h.set(ctx, s, "cs-enabled", bit(s.SMS)); err != nil {
			return err
		}
	}
	if is.ps != s.Data {
		return h.set(ctx, s, "ps-enabled", bit(s.Data))
	}
	return nil
}

// bar takes service and keys away. OsmoHLR 1.5 does not tell the switch that
// serves the subscriber now; it finds out when it next asks.
func (h *OsmoHLR) bar(ctx context.Context, s Subscriber, is osmoSubscriber) error {
	if !is.known {
		return nil
	}
	for _, step := range []struct {
		due         bool
		name, value string
	}{
		{is.cs, "cs-enabled", "0"},
		{is.ps, "ps-enabled", "0"},
		{is.has2G, "aud2g", "none"},
		{is.aud3g != "", "aud3g", "none"},
	} {
		if !step.due {
			continue
		}
		if err := h.set(ctx, s, step.name, step.value); err != nil {
			return err
		}
	}
	return nil
}

func (h *OsmoHLR) create(ctx context.Context, s Subscriber) error {
	err := h.control.set(ctx, "subscriber.create", string(s.IMSI))
	if refused, ok := errors.AsType[ctrlError](err); ok && string(refused) == osmoExists {
		return nil // another call of ours was quicker
	}
	if err != nil {
		return h.trouble(err)
	}
	return nil
}

func (h *OsmoHLR) set(ctx context.Context, s Subscriber, name, value string) error {
	err := h.control.set(ctx, variable(s, name), value)
	refused, ok := errors.AsType[ctrlError](err)
	switch {
	case err == nil:
		return nil
	case ok && (refused == osmoNoValue || refused == osmoFormat || refused == osmoNoAlgo):
		return fault.New(fault.Conflict, "OsmoHLR does not take the %s of IMSI %s: %s", name, s.IMSI, string(refused))
	case ok:
		return fmt.Errorf("OsmoHLR at %s: set %s of IMSI %s: %w", h.control.address, name, s.IMSI, err)
	}
	return h.trouble(err)
}

// Compare says in what the HLR's subscriber differs from s. Networks it cannot
// hold, and a number that s does not name may be the operator's.
func (h *OsmoHLR) Compare(ctx context.Context, s Subscriber) ([]Difference, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	is, err := h.read(ctx, s)
	if err != nil {
		return nil, err
	}
	if !s.Attach {
		if is.cs || is.ps || is.has2G || is.aud3g != "" {
			return servedThere, nil
		}
		return nil, nil
	}
	if !is.known {
		return unknownThere, nil
	}
	keys, err := s.osmoKeys()
	if err != nil {
		return nil, err
	}
	var list differences
	list.keys(is.aud3g == keys && !is.has2G)
	if want := s.digits(); want != "" {
		list.add("msisdn", want, is.msisdn)
	}
	list.flag("data", s.Data, is.ps)
	list.flag("sms", s.SMS, is.cs)
	return list, nil
}

// Delete makes the HLR forget a subscriber. Deleting one that is not there
// changes nothing.
func (h *OsmoHLR) Delete(ctx context.Context, s Subscriber) error {
	if err := s.check(); err != nil {
		return err
	}
	err := h.control.set(ctx, "subscriber.delete", string(s.IMSI))
	if refused, ok := errors.AsType[ctrlError](err); ok && string(refused) == osmoNotThere {
		return nil
	}
	if err != nil {
		return h.trouble(err)
	}
	return nil
}

func (h *OsmoHLR) trouble(err error) error { return unreachable("OsmoHLR", h.control.address, err) }

// digits returns the number without what is not a digit.
func (s *Subscriber) digits() string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s.MSISDN)
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
