package supersim_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"godwit/db"
	"godwit/ident"
	"godwit/internal/letter"
	"godwit/internal/reference"
	"godwit/rsp"
	"godwit/sim"
	"godwit/smsc/smsctest"
)

// publicURL is under which address the letters know the door.
const publicURL = "https://sim.example.net"

// TestLetters plays the exchanges in testdata: each file is a letter that says
// what is asked and what is answered, as package letter has it. The requests
// carry the account's credentials. What else may happen:
//
//	-- download ICCID --       the SM-DP+ reports: downloaded, installed, or failed with a status code
//	-- install ICCID --
//	-- fail 8.1/4.8 ICCID --
//	-- no stock --
//	-- card ICCID CODE EID --  a card can be registered; the EID may be left out
//	-- accepted --             the SMSC gets a message with this text
//	-- receipt DELIVRD --      the SMSC reports on it
//	-- text ICCID --           a device sends this text
//	-- attach ICCID --         a device gets a data session; <port> is where it listens
//	-- datagram --             the device gets a datagram with these octets
//	-- answer --               and answers with these
//	-- callback --             the form that the customer's server gets next of those with
//	                           these parameters: others may overtake it
//
// <hook> is the address of the customer's server.
func TestLetters(t *testing.T) {
	documents := []*letter.Document{
		letter.OpenDocument(t, "twilio_supersim_v1.json"), letter.OpenDocument(t, "kore-supersim-v1.json"),
	}
	letter.Play(t, func(t *testing.T, d *db.DB) *letter.Reader {
		h := newHouse(t, d, publicURL)
		r := &reader{house: h, Reader: &letter.Reader{
			T: t, URL: h.server.URL, PublicURL: publicURL, Documents: documents,
			Words: map[string]string{"account": h.account, "hook": h.calls.server.URL},
			Sign: func(q *http.Request, _ string) {
				q.SetBasicAuth(h.account, h.token)
				if q.Method == http.MethodPost {
					q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
			},
		}}
		r.Part = r.part
		return r.Reader
	})
}

// TestDocument says by name whether the letters are checked against the
// vendor's document.
func TestDocument(t *testing.T) {
	reference.File(t, "openapi", "twilio_supersim_v1.json")
	if letter.OpenDocument(t, "twilio_supersim_v1.json") == nil {
		t.Error("the document is there and was not read")
	}
}

type reader struct {
	*house
	*letter.Reader
	waiting []url.Values // callbacks that came before their parts

	accepted smsctest.Message // by the SMSC, the last one
	conn     *net.UDPConn     // of the device that was attached last
	from     netip.AddrPort   // of its last datagram
}

// part plays what is not a request or an answer.
func (r *reader) part(title []string, body string) bool {
	switch title[0] {
	case "callback":
		r.callback(body)
	case "download":
		r.report(r.T, r.Fill(title[1]), rsp.PointDownload, nil)
	case "install":
		r.report(r.T, r.Fill(title[1]), rsp.PointInstallation, nil)
	case "fail":
		code, err := rsp.ParseStatusCode(title[1])
		if err != nil {
			r.Fatalf("%v", err)
		}
		r.report(r.T, r.Fill(title[2]), rsp.PointInstallation, rsp.Refuse(code, ""))
	case "accepted", "receipt", "text", "attach", "datagram", "answer":
		r.device(title, body)
	case "card":
		h := sim.Card{ICCID: ident.ICCID(title[1]), IMSI: ident.IMSI("00101" + title[1][9:]), Code: db.Secret(title[2])}
		if len(title) > 3 {
			h.EID = ident.EID(title[3])
		}
		if err := r.store.ImportCards(context.Background(), "", "letter", []sim.Card{h}); err != nil {
			r.Fatalf("%v", err)
		}
	case "no":
		r.shelf.mu.Lock()
		r.shelf.stock = r.shelf.taken
		r.shelf.mu.Unlock()
	default:
		return false
	}
	return true
}

// device plays what happens in the field.
func (r *reader) device(title []string, body string) {
	switch title[0] {
	case "accepted":
		if r.accepted = r.field.smsc.Next(); r.accepted.Text != body || r.accepted.From != "000" {
			r.Fatalf("the SMSC got %+v", r.accepted)
		}
	case "receipt":
		r.field.smsc.Receipt(r.accepted, title[1])
	case "text":
		n, _ := r.field.Number(context.Background(), ident.ICCID(r.Fill(title[1]))) // never fails
		if status := r.field.smsc.Text(n.Digits, byte(n.Plan), body, 0); status != 0 {
			r.Fatalf("the device's message was answered with %#x", status)
		}
	case "attach":
		r.conn = r.field.attach(r.T, r.Fill(title[1]))
		r.Words["port"] = strconv.Itoa(r.conn.LocalAddr().(*net.UDPAddr).Port)
		r.Words["address"] = r.conn.LocalAddr().(*net.UDPAddr).IP.String()
	case "datagram":
		buffer := make([]byte, 2000)
		n, from, err := r.conn.ReadFromUDPAddrPort(buffer)
		if err != nil || string(buffer[:n]) != body {
			r.Fatalf("the device got %q, %v", buffer[:n], err)
		}
		r.from = from
	case "answer":
		if _, err := r.conn.WriteToUDPAddrPort([]byte(body), r.from); err != nil {
			r.Fatalf("%v", err)
		}
	}
}

// callback compares the next callback, one parameter to a line, sorted.
func (r *reader) callback(want string) {
	found := map[string]string{}
	lines := strings.Split(want, "\n")
	form := r.nextCall(lines)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if got, ok := form[name]; !ok || !(got[0] == "" && value == "") && !r.Match(got[0], value, found) {
			r.Fatalf("callback parameter %s is %q, want %q", name, got, r.Fill(value))
		}
	}
	if len(form) != len(lines) {
		r.Fatalf("callback has %d parameters, want %d: %v", len(form), len(lines), form)
	}
}

// nextCall returns the first or second callback that has the parameter of the
// first line; what it passes over waits for a later part.
func (r *reader) nextCall(lines []string) url.Values {
	name, _, _ := strings.Cut(lines[0], ":")
	for i := 0; ; i++ {
		if i == len(r.waiting) {
			r.waiting = append(r.waiting, r.calls.next(r.T))
		}
		if form := r.waiting[i]; form.Has(name) || i == 1 {
			r.waiting = slices.Delete(r.waiting, i, i+1)
			return form
		}
	}
}
