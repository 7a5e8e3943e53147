package carrier

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"godwit/carrier/coretest"
	"godwit/fault"
)

func TestSwapped(t *testing.T) {
	for digits, want := range map[string]string{
		"001010000000001": "00010100000000f1", "26242123456789": "62421232547698", "1": "f1",
	} {
		if got := hex.EncodeToString(swapped(digits)); got != want {
			t.Errorf("%s is packed as %s, want %s", digits, got, want)
		}
	}
}

// The control interface's text as OsmoHLR 1.5.0 says it.
func TestParseInfo(t *testing.T) {
	is := parseInfo("\nid\t1\nimsi\t001010000000001\nmsisdn\t4915112345678\nnam_cs\t0\nnam_ps\t1\nms_purged_cs\t0\n" +
		"aud3g.algo\tMILENAGE\naud3g.k\t000102030405060708090a0b0c0d0e0f\naud3g.opc\t101112131415161718191a1b1c1d1e1f\n" +
		"aud3g.ind_bitlen\t5\naud3g.sqn\t0")
	want := osmoSubscriber{
		known: true, msisdn: "4915112345678", ps: true,
		aud3g: "milenage,000102030405060708090a0b0c0d0e0f,opc,101112131415161718191a1b1c1d1e1f,5",
	}
	if is != want {
		t.Errorf("read %+v, want %+v", is, want)
	}
	if is = parseInfo(""); is != (osmoSubscriber{known: true}) {
		t.Errorf("of nothing: %+v", is)
	}
}

// peer is the other end of a connection that says what a test wants.
func peer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			conn.Close()
		}
	}()
	return l.Addr().String()
}

func say(conn net.Conn, text string) {
	conn.Write(appendFrame(nil, streamExtended, []byte{extensionCTRL}, []byte(text)))
}

// TestControlPeers has the client of the control interface meet peers that talk
// in between, answer something else, or nothing.
func TestControlPeers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		want  string
		words string // of the error
	}{
		{"in between come a trap, a ping and a late answer", func(c net.Conn) {
			readFrame(c)
			c.Write(appendFrame(nil, streamCCM, []byte{ccmPing}))
			if stream, m, err := readFrame(c); err != nil || stream != streamCCM || !bytes.Equal(m, []byte{ccmPong}) {
				return
			}
			say(c, "TRAP 0 something happened")
			say(c, "GET_REPLY 77 x old")
			say(c, "GET_REPLY 1 x new value")
		}, "new value", ""},
		{"an error", func(c net.Conn) { readFrame(c); say(c, "ERROR 1 Command not found") }, "", "Command not found"},
		{"another variable", func(c net.Conn) { readFrame(c); say(c, "GET_REPLY 1 y 2") }, "", "answered about"},
		{"no number", func(c net.Conn) { readFrame(c); say(c, "HELLO") }, "", "no number"},
		{"another verb", func(c net.Conn) { readFrame(c); say(c, "SET_REPLY 1 x 2") }, "", "to a GET"},
		{"hangs up", func(c net.Conn) { readFrame(c) }, "", "EOF"},
		{"cut off", func(c net.Conn) { readFrame(c); c.Write([]byte{0, 9, streamExtended, 0, 'G'}) }, "", "cut off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCTRL(peer(t, tt.serve))
			defer c.close()
			got, err := c.get(t.Context(), "x")
			if tt.words == "" && (err != nil || got != tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if tt.words != "" && (err == nil || !strings.Contains(err.Error(), tt.words)) {
				t.Errorf("error %v, want one that says %q", err, tt.words)
			}
		})
	}
	c := newCTRL("127.0.0.1:1")
	if err := c.set(t.Context(), "x", "1\nSET 2 subscriber.delete 1"); err == nil || !strings.Contains(err.Error(), "one line") {
		t.Errorf("a value of two lines: %v", err)
	}
	// A peer that never answers is given up with the context.
	ctx, cancel := context.WithCancel(t.Context())
	silent := newCTRL(peer(t, func(c net.Conn) {
		readFrame(c)
		cancel()
		io.Copy(io.Discard, c)
	}))
	if _, err := silent.get(ctx, "x"); err == nil {
		t.Error("a silent peer answered")
	}
}

// An HLR that was restarted is talked to again without a failed call; one that
// is down is no refusal.
func TestOsmoHLRRestarts(t *testing.T) {
	h := coretest.StartHLR(t)
	core := NewOsmoHLR(h.Control)
	defer core.Close()
	for range 2 {
		if err := core.Apply(t.Context(), subscriber()); err != nil {
			t.Fatal(err)
		}
		h.Stop()
		h.Start()
	}
	h.Stop()
	err := core.Apply(t.Context(), subscriber())
	if _, refused := fault.As(err); err == nil || refused {
		t.Errorf("an HLR that is down: %v, want trouble that is no refusal", err)
	}
	if _, err := core.Compare(t.Context(), subscriber()); err == nil {
		t.Error("an HLR that is down was compared with")
	}
}

// TestOpen5GSDocument holds what is stored against what Open5GS reads: the
// types of its numbers matter, since it passes over others.
func TestOpen5GSDocument(t *testing.T) {
	o, err := NewOpen5GS("open5gs+mongodb://127.0.0.1/?apn=iot&sst=2&sd=0000ab")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	s := subscriber()
	s.MSISDN = "+4915112345678"
	plain, err := bson.Marshal(o.wanted(s))
	if err != nil {
		t.Fatal(err)
	}
	got, err := bson.MarshalExtJSON(bson.Raw(plain), true, false)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"msisdn":["4915112345678"],` +
		`"security":{"k":"01010101010101010101010101010101","opc":"02020202020202020202020202020202","op":null,"amf":"8000","sqn":{"$numberLong":"0"}},` +
		`"subscriber_status":{"$numberInt":"0"},"network_access_mode":{"$numberInt":"0"},` +
		`"slice":[{"sst":{"$numberInt":"2"},"sd":"0000ab","default_indicator":true,"session":[{"name":"iot","type":{"$numberInt":"3"},` +
		`"qos":{"index":{"$numberInt":"9"},"arp":{"priority_level":{"$numberInt":"8"},"pre_emption_capability":{"$numberInt":"1"},"pre_emption_vulnerability":{"$numberInt":"1"}}},` +
		`"ambr":{"downlink":{"value":{"$numberInt":"1"},"unit":{"$numberInt":"3"}},"uplink":{"value":{"$numberInt":"1"},"unit":{"$numberInt":"3"}}},"pcc_rule":[]}]}]}`
	if string(got) != want {
		t.Errorf("document\n%s\nwant\n%s", got, want)
	}

	// What the operator has added stays: only what differs is set.
	is := o.wanted(s)
	is.Slices[0].Sessions[0].Name = "operators.own"
	set := o.update(s, &is)["$set"].(bson.M)
	for _, name := range []string{"slice", "security.sqn"} {
		if _, there := set[name]; there {
			t.Errorf("an update of a document that is right sets %s", name)
		}
	}
	s.Data = false
	if set = o.update(s, &is)["$set"].(bson.M); len(set["slice"].([]openSlice)[0].Sessions) != 0 {
		t.Error("without data there is still a session")
	}
}

// A database that does not answer is no refusal.
func TestOpen5GSDown(t *testing.T) {
	o, err := NewOpen5GS("open5gs+mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50&connectTimeoutMS=50")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("given up"))
	err = o.Apply(ctx, subscriber())
	if _, refused := fault.As(err); err == nil || refused {
		t.Errorf("a database that is down: %v, want trouble that is no refusal", err)
	}
}

func FuzzGSUP(f *testing.F) {
	f.Add([]byte{0x0A, 1, 2, 0, 0xF1, 3, 4, 0x20, 2, 1, 2})
	f.Add([]byte{0x09, 2, 1, 2})
	f.Add(appendItem([]byte{0x0A}, 3, make([]byte, 254)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseGSUP(b)
		if err != nil {
			return
		}
		again := []byte{m.kind}
		for _, i := range m.items {
			again = appendItem(again, i.tag, i.value)
			if v, err := parseTuple(i.value); err == nil && (len(v.XRES) < 4 || len(v.XRES) > 16) {
				t.Errorf("a vector with a RES of %d octets was taken", len(v.XRES))
			}
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x was read as %x", b, again)
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add([]byte("GET_REPLY 1 subscriber.x.info-all \nid\t1\nnam_cs\t1"))
	f.Add([]byte("ERROR 1 No such subscriber."))
	f.Add([]byte(" "))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply(b)
		if err != nil {
			return
		}
		if r.verb == "" || r.id == "" || strings.Contains(r.id, " ") {
			t.Errorf("%q was read as %+v", b, r)
		}
		parseInfo(r.rest)
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 1, 0xFE, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		stream, message, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := appendFrame(nil, stream, message); !bytes.HasPrefix(b, again) {
			t.Errorf("%x was read as %x", b, again)
		}
		answerCCM(message, "x")
	})
}
