package supersim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/rsp"
	"godwit/sim"
	"godwit/smsc/smsctest"
)

// publicURL is under which address the letters know the door.
const publicURL = "https://sim.example.net"

// TestLetters plays the exchanges in testdata: each file is a letter that says
// what is asked and what is answered.
//
//	-- request --              sent with the account's credentials
//	-- response 200 --         the answer, compared as JSON
//	-- response 200 soon --    the same request again until it is answered so
//	-- file text/csv --        the answer is a file of this kind, compared line by line
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
// In an answer "<name>" keeps what stands there and demands the same the next
// time, in requests too; "<time>" is a date and time, "<any>" anything. <hook>
// is the address of the customer's server.
func TestLetters(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no letters: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				h := newHouse(t, d, publicURL)
				reader := &reader{house: h, t: t, check: openDocument(t), words: map[string]string{
					"account": h.account, "hook": h.calls.server.URL,
				}}
				reader.play(string(text))
			})
		})
	}
}

type reader struct {
	*house
	t       *testing.T
	check   *document
	words   map[string]string // what <name> stands for
	request string
	line    int
	waiting []url.Values // callbacks that came before their parts

	accepted smsctest.Message // by the SMSC, the last one
	conn     *net.UDPConn     // of the device that was attached last
	from     netip.AddrPort   // of its last datagram
}

var heading = regexp.MustCompile(`^-- (.*) --$`)

// play goes through a letter part by part.
func (r *reader) play(letter string) {
	var title string
	var body []string
	started := 0
	for i, line := range append(strings.Split(letter, "\n"), "-- end --") {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			body = append(body, line)
			continue
		}
		r.line = started
		r.part(strings.Fields(title), strings.TrimSpace(strings.Join(body, "\n")))
		title, body, started = m[1], nil, i+1
	}
}

func (r *reader) part(title []string, body string) {
	if len(title) == 0 {
		return // what stands before the first heading is for people
	}
	switch title[0] {
	case "request":
		r.request = body
	case "response":
		status, err := strconv.Atoi(title[1])
		if err != nil {
			r.fatalf("%v", err)
		}
		r.response(status, body, len(title) > 2)
	case "file":
		r.file(title[1], body)
	case "callback":
		r.callback(body)
	case "download":
		r.report(r.t, r.fill(title[1]), rsp.PointDownload, nil)
	case "install":
		r.report(r.t, r.fill(title[1]), rsp.PointInstallation, nil)
	case "fail":
		code, err := rsp.ParseStatusCode(title[1])
		if err != nil {
			r.fatalf("%v", err)
		}
		r.report(r.t, r.fill(title[2]), rsp.PointInstallation, rsp.Refuse(code, ""))
	case "accepted", "receipt", "text", "attach", "datagram", "answer":
		r.device(title, body)
	case "card":
		h := sim.Card{ICCID: ident.ICCID(title[1]), IMSI: ident.IMSI("00101" + title[1][9:]), Code: db.Secret(title[2])}
		if len(title) > 3 {
			h.EID = ident.EID(title[3])
		}
		if err := r.store.ImportCards(context.Background(), "", "letter", []sim.Card{h}); err != nil {
			r.fatalf("%v", err)
		}
	case "no":
		r.shelf.mu.Lock()
		r.shelf.stock = r.shelf.taken
		r.shelf.mu.Unlock()
	default:
		r.fatalf("unknown part %q", title)
	}
}

// device plays what happens in the field.
func (r *reader) device(title []string, body string) {
	switch title[0] {
	case "accepted":
		if r.accepted = r.field.smsc.Next(); r.accepted.Text != body || r.accepted.From != "000" {
			r.fatalf("the SMSC got %+v", r.accepted)
		}
	case "receipt":
		r.field.smsc.Receipt(r.accepted, title[1])
	case "text":
		n, _ := r.field.Number(context.Background(), ident.ICCID(r.fill(title[1]))) // never fails
		if status := r.field.smsc.Text(n.Digits, byte(n.Plan), body, 0); status != 0 {
			r.fatalf("the device's message was answered with %#x", status)
		}
	case "attach":
		r.conn = r.field.attach(r.t, r.fill(title[1]))
		r.words["port"] = strconv.Itoa(r.conn.LocalAddr().(*net.UDPAddr).Port)
		r.words["address"] = r.conn.LocalAddr().(*net.UDPAddr).IP.String()
	case "datagram":
		buffer := make([]byte, 2000)
		n, from, err := r.conn.ReadFromUDPAddrPort(buffer)
		if err != nil || string(buffer[:n]) != body {
			r.fatalf("the device got %q, %v", buffer[:n], err)
		}
		r.from = from
	case "answer":
		if _, err := r.conn.WriteToUDPAddrPort([]byte(body), r.from); err != nil {
			r.fatalf("%v", err)
		}
	}
}

func (r *reader) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("line %d: %s", r.line, fmt.Sprintf(format, args...))
}

// fill puts the words in their places.
func (r *reader) fill(text string) string {
	for name, value := range r.words {
		text = strings.ReplaceAll(text, "<"+name+">", value)
	}
	return text
}

// response sends the request and compares the answer.
func (r *reader) response(status int, want string, soon bool) {
	late := time.Now().Add(20 * time.Second)
	for {
		got, kind, answer := r.send()
		problem := ""
		if status != http.StatusNoContent && !strings.HasPrefix(kind, "application/json") {
			r.fatalf("content type %q", kind)
		}
		if got != status {
			problem = fmt.Sprintf("status %d, want %d: %s", got, status, answer)
		} else if want == "" {
			if len(answer) > 0 {
				problem = fmt.Sprintf("an answer where none is due: %s", answer)
			}
		} else {
			problem = r.compare(answer, want)
		}
		if problem == "" {
			return
		}
		if !soon || time.Now().After(late) {
			r.fatalf("%s", problem)
		}
	}
}

// send sends the request over real HTTP and has the answer checked against the
// vendor's document.
func (r *reader) send() (status int, kind string, answer []byte) {
	head, body, _ := strings.Cut(r.fill(r.request), "\n\n")
	lines := strings.Split(head, "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	target = strings.TrimPrefix(target, publicURL)
	q, err := http.NewRequestWithContext(context.Background(), method, r.server.URL+target, strings.NewReader(strings.TrimSpace(body)))
	if err != nil {
		r.fatalf("%v", err)
	}
	q.SetBasicAuth(r.account, r.token)
	if method == http.MethodPost {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if q.Header.Del(name); value != "" {
			q.Header.Set(name, strings.TrimSpace(value))
		}
	}
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		r.fatalf("%v", err)
	}
	defer a.Body.Close()
	if answer, err = io.ReadAll(a.Body); err != nil {
		r.fatalf("%v", err)
	}
	if err := r.check.answer(q, a, answer); err != nil {
		r.fatalf("the vendor's document does not allow this answer: %v\n%s", err, answer)
	}
	return a.StatusCode, a.Header.Get("Content-Type"), answer
}

// file sends the request and compares a file with what the letter says.
func (r *reader) file(kind, want string) {
	status, got, answer := r.send()
	if media, _, _ := strings.Cut(got, ";"); status != http.StatusOK || media != kind {
		r.fatalf("status %d, content type %q: %.500s", status, got, answer)
	}
	lines, wanted := strings.Split(strings.TrimSpace(string(answer)), "\n"), strings.Split(want, "\n")
	for i, line := range lines {
		found := map[string]string{}
		if i >= len(wanted) || !r.sameText(line, wanted[i], found) {
			r.fatalf("line %d of the file is not as in the letter: %s", i+1, line)
		}
		for name, value := range found {
			r.words[name] = value
		}
	}
	if len(lines) != len(wanted) {
		r.fatalf("the file has %d lines, want %d", len(lines), len(wanted))
	}
}

// compare compares an answer with what the letter says, and returns the
// difference.
func (r *reader) compare(answer []byte, want string) string {
	var a, w any
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Sprintf("the answer is no JSON: %v: %s", err, answer)
	}
	if err := json.Unmarshal([]byte(r.fill(want)), &w); err != nil { // words may stand for numbers
		r.fatalf("the letter is no JSON: %v", err)
	}
	found := map[string]string{}
	if problem := r.same("answer", a, w, found); problem != "" {
		var pretty bytes.Buffer
		_ = json.Indent(&pretty, answer, "", "  ") // it was read as JSON above
		return problem + "\n" + pretty.String()
	}
	for name, value := range found {
		r.words[name] = value
	}
	return ""
}

var (
	word    = regexp.MustCompile(`<[a-z0-9_]+>`)
	instant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
)

func (r *reader) same(at string, got, want any, found map[string]string) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is no object: %v", at, got)
		}
		for name := range g {
			if _, ok := w[name]; !ok {
				return fmt.Sprintf("%s has %s, which is not in the letter", at, name)
			}
		}
		for name := range w {
			if _, ok := g[name]; !ok {
				return fmt.Sprintf("%s lacks %s", at, name)
			}
			if problem := r.same(at+"."+name, g[name], w[name], found); problem != "" {
				return problem
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is not a list of %d: %v", at, len(w), got)
		}
		for i := range w {
			if problem := r.same(fmt.Sprintf("%s[%d]", at, i), g[i], w[i], found); problem != "" {
				return problem
			}
		}
		return ""
	case string:
		g, ok := got.(string)
		if ok && r.sameText(g, w, found) {
			return ""
		}
	default:
		if got == want {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, want %v", at, got, want)
}

// sameText compares texts with words in them.
func (r *reader) sameText(got, want string, found map[string]string) bool {
	pattern, names := "^", []string{}
	for {
		at := word.FindStringIndex(want)
		if at == nil {
			break
		}
		name := want[at[0]+1 : at[1]-1]
		pattern += regexp.QuoteMeta(want[:at[0]])
		value, known := r.words[name]
		if !known {
			value, known = found[name]
		}
		if known {
			pattern += regexp.QuoteMeta(value)
		} else {
			pattern += "(.+)"
			names = append(names, name)
		}
		want = want[at[1]:]
	}
	m := regexp.MustCompile(pattern + regexp.QuoteMeta(want) + "$").FindStringSubmatch(got)
	if m == nil {
		return false
	}
	for i, name := range names {
		switch name {
		case "any":
		case "time":
			if !instant.MatchString(m[i+1]) {
				return false
			}
		default:
			found[name] = m[i+1]
		}
	}
	return true
}

// callback compares the next callback, one parameter to a line, sorted.
func (r *reader) callback(want string) {
	found := map[string]string{}
	lines := strings.Split(want, "\n")
	form := r.nextCall(lines)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if got, ok := form[name]; !ok || !(got[0] == "" && value == "") && !r.sameText(got[0], value, found) {
			r.fatalf("callback parameter %s is %q, want %q", name, got, r.fill(value))
		}
	}
	if len(form) != len(lines) {
		r.fatalf("callback has %d parameters, want %d: %v", len(form), len(lines), form)
	}
}

// nextCall returns the first or second callback that has the parameter of the
// first line; what it passes over waits for a later part.
func (r *reader) nextCall(lines []string) url.Values {
	name, _, _ := strings.Cut(lines[0], ":")
	for i := 0; ; i++ {
		if i == len(r.waiting) {
			r.waiting = append(r.waiting, r.calls.next(r.t))
		}
		if form := r.waiting[i]; form.Has(name) || i == 1 {
			r.waiting = slices.Delete(r.waiting, i, i+1)
			return form
		}
	}
}
