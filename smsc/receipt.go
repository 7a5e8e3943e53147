package smsc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
)

// A State is what a receipt says about a message.
type State string

// The states of SMPP v3.4, 5.2.28, as receipts write them (appendix B).
const (
	EnRoute       State = "ENROUTE"
	Accepted      State = "ACCEPTD"
	Delivered     State = "DELIVRD"
	Expired       State = "EXPIRED"
	Deleted       State = "DELETED"
	Undeliverable State = "UNDELIV"
	Rejected      State = "REJECTD"
	Lost          State = "UNKNOWN"
)

// Final reports whether nothing follows.
func (s State) Final() bool { return s != EnRoute && s != Accepted }

// states are those of the message_state parameter.
var states = map[byte]State{1: EnRoute, 2: Delivered, 3: Expired, 4: Deleted, 5: Undeliverable, 6: Accepted, 7: Lost, 8: Rejected}

// A Receipt is what the SMSC says became of a message.
type Receipt struct {
	ID    string // the SMSC's identifier of the message
	State State
	Error string // the network's own, empty or "000" for none
}

// receipt reads a receipt: the parameters made for it first, then its text,
// whose form is a custom and no rule. SMPP v3.4, appendix B.
func receipt(parameters map[pdu.Tag]pdu.Field, text string) *Receipt {
	r := &Receipt{ID: word(text, "id"), State: State(strings.ToUpper(word(text, "stat"))), Error: word(text, "err")}
	if f, ok := parameters[pdu.TagReceiptedMessageID]; ok {
		r.ID = strings.TrimRight(string(f.Data), "\x00")
	}
	if f := parameters[pdu.TagMessageStateOption]; len(f.Data) == 1 {
		r.State = states[f.Data[0]]
	}
	known := false
	for _, s := range states {
		known = known || s == r.State
	}
	if !known {
		r.State = Lost
	}
	return r
}

// word returns the value of a field in a receipt's text.
func word(text, name string) string {
	lower := strings.ToLower(text)
	for from := 0; ; {
		at := strings.Index(lower[from:], name+":")
		if at < 0 {
			return ""
		}
		at += from
		from = at + len(name) + 1
		if at > 0 && lower[at-1] != ' ' {
			continue
		}
		value, _, _ := strings.Cut(text[from:], " ")
		return value
	}
}

// SameID are the forms in which an SMSC may write one identifier: some answer
// submit_sm in hexadecimal digits and write receipts in decimal ones, or pad with
// zeros.
func SameID(id string) []string {
	forms := []string{id}
	add := func(s string) {
		if s != "" && !slices.Contains(forms, s) {
			forms = append(forms, s)
		}
	}
	add(strings.ToLower(id))
	add(strings.ToUpper(id))
	add(strings.TrimLeft(id, "0"))
	if n, err := strconv.ParseUint(id, 10, 64); err == nil {
		add(fmt.Sprintf("%010d", n)) // as SMPP v3.4 has it in appendix B
		add(strconv.FormatUint(n, 16))
		add(fmt.Sprintf("%X", n))
		add(fmt.Sprintf("%08x", n))
		add(fmt.Sprintf("%08X", n))
	}
	if n, err := strconv.ParseUint(id, 16, 64); err == nil {
		add(strconv.FormatUint(n, 10))
	}
	return forms
}

// A Refusal is an SMSC's answer that is not ESME_ROK.
type Refusal struct{ Status data.CommandStatusType }

func (r *Refusal) Error() string {
	return fmt.Sprintf("the SMSC refused with command_status 0x%08X (%s)", uint32(r.Status), r.Words())
}

// Throttled reports whether the SMSC wants no messages for the moment.
func (r *Refusal) Throttled() bool { return r.TooFast() || r.Status == data.ESME_RMSGQFUL }

// TooFast reports whether messages came too fast, which says nothing of this one.
func (r *Refusal) TooFast() bool { return r.Status == data.ESME_RTHROTTLED }

// Final reports whether the same message would be refused again: it, its
// addresses or our right to send it are at fault, not the moment.
func (r *Refusal) Final() bool {
	_, ok := finals[r.Status]
	return ok
}

var finals = map[data.CommandStatusType]string{
	data.ESME_RINVMSGLEN:   "the message is too long",
	data.ESME_RINVSRCADR:   "the sender is not allowed",
	data.ESME_RINVDSTADR:   "the SMSC does not know the device's number",
	data.ESME_RINVSERTYP:   "the service type is not allowed",
	data.ESME_RINVSRCTON:   "the sender's type of number is not allowed",
	data.ESME_RINVSRCNPI:   "the sender's numbering plan is not allowed",
	data.ESME_RINVDSTTON:   "the device's type of number is not allowed",
	data.ESME_RINVDSTNPI:   "the device's numbering plan is not allowed",
	data.ESME_RINVESMCLASS: "the message class is not allowed",
	data.ESME_RINVEXPIRY:   "the validity period is not allowed",
	data.ESME_RX_P_APPN:    "refused for good",
	data.ESME_RX_R_APPN:    "refused",
}

// Words says what a refusal means.
func (r *Refusal) Words() string {
	if words, ok := finals[r.Status]; ok {
		return words
	}
	switch r.Status {
	case data.ESME_RTHROTTLED:
		return "messages came too fast"
	case data.ESME_RMSGQFUL:
		return "its queue is full"
	case data.ESME_RINVPASWD, data.ESME_RINVSYSID, data.ESME_RBINDFAIL:
		return "it does not accept our system ID and password"
	case data.ESME_RALYBND:
		return "it holds us for bound already"
	case data.ESME_RSYSERR:
		return "trouble of its own"
	}
	return "temporary"
}
