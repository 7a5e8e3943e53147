package euicc

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

func TestATR(t *testing.T) {
	var check byte
	for _, o := range ATR()[1:] {
		check ^= o
	}
	if check != 0 {
		t.Errorf("check octet of %X is wrong", ATR())
	}
}

func TestParseCommand(t *testing.T) {
	for _, tt := range []struct {
		name, apdu string
		data       string
		le         int
		channel    int
		ok         bool
	}{
		{"header alone", "00A4000C", "", -1, 0, true},
		{"with Le", "00B0000010", "", 16, 0, true},
		{"Le of zero is 256", "00B0000000", "", 256, 0, true},
		{"with data", "00A40004023F00", "3F00", -1, 0, true},
		{"data and Le", "01A40004023F0000", "3F00", 256, 1, true},
		{"extended Le", "80E2910000012C", "", 300, 0, true},
		{"extended Le of zero", "80E29100000000", "", 65536, 0, true},
		{"extended data", "83E29100000002BF20", "BF20", -1, 3, true},
		{"extended data and Le", "83E29100000002BF200100", "BF20", 256, 3, true},
		{"further channel", "C2E2910000", "", 256, 6, true},
		{"too short", "00A400", "", 0, 0, false},
		{"less data than said", "00A40004033F00", "", 0, 0, false},
		{"octets after Le", "00A40004023F000000", "", 0, 0, false},
		{"extended without data", "00A4000400000000", "", 0, 0, false},
		{"class FF", "FFA4000C", "", 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parseCommand(unhex(tt.apdu))
			if (err == nil) != tt.ok {
				t.Fatalf("error = %v, want ok %v", err, tt.ok)
			}
			if err == nil && (!bytes.Equal(c.data, unhex(tt.data)) || c.le != tt.le || c.channel != tt.channel) {
				t.Errorf("data %X, le %d, channel %d", c.data, c.le, c.channel)
			}
		})
	}
}

// Item 49: SELECT, chains of STORE DATA and GET RESPONSE.
func TestSelectISDR(t *testing.T) {
	x := newTester(t, config(pki.P256))
	if err := x.card.Reset(); err != nil {
		t.Fatal(err)
	}
	answer := x.apdu("00A4040010A0000005591010FFFFFFFF890000010000")
	want := "6F1E8410A0000005591010FFFFFFFF8900000100A5049F6501FFE00582030205009000"
	want = strings.Replace(want, "6F1E", fmt.Sprintf("6F%02X", len(want)/2-4), 1)
	if answer != want {
		t.Errorf("answer\n %s, want\n %s", answer, want)
	}
	for _, tt := range []struct{ name, command, want string }{
		{"cut name", "00A4040C05A000000559", "9000"},
		{"without answer", "00A4040C10A0000005591010FFFFFFFF8900000100", "9000"},
		{"unknown name", "00A4040006A000000003FF00", "6A82"},
		{"name too short", "00A4040004A000000500", "6A80"},
		{"wrong P2", "00A4040110A0000005591010FFFFFFFF890000010000", "6A86"},
		{"no file system without a profile", "00A4000C023F00", "6A82"},
		{"secure messaging", "04A4040C10A0000005591010FFFFFFFF8900000100", "6882"},
		{"closed channel", "02A4040C10A0000005591010FFFFFFFF8900000100", "6881"},
		{"unknown instruction", "00FE000000", "6D00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := x.apdu(tt.command); got != tt.want {
				t.Errorf("answer %s, want %s", got, tt.want)
			}
		})
	}
}

func TestLogicalChannels(t *testing.T) {
	x := newTester(t, config(pki.P256))
	if err := x.card.Reset(); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < maxChannels; n++ {
		if got, want := x.apdu("0070000001"), fmt.Sprintf("%02X9000", n); got != want {
			t.Fatalf("channel %d: %s, want %s", n, got, want)
		}
		cla := fmt.Sprintf("%02X", class(n))
		if got := x.apdu(cla + "A4040C10A0000005591010FFFFFFFF8900000100"); got != "9000" {
			t.Fatalf("select on channel %d: %s", n, got)
		}
		proprietary := fmt.Sprintf("%02X", 0x80|class(n))
		if got := x.apdu(proprietary + "E2910006BF3E035C015A00"); !strings.HasPrefix(got, "BF3E125A10"+string(testEID)) {
			t.Fatalf("EID on channel %d: %s", n, got)
		}
	}
	for _, tt := range []struct{ name, command, want string }{
		{"none left", "0070000001", "6881"},
		{"close one", "0070800400", "9000"},
		{"closed already", "0070800400", "6881"},
		{"the basic one stays", "0070800000", "6A86"},
		{"open by number", "00700004", "9000"},
		{"open twice", "00700004", "6881"},
	} {
		if got := x.apdu(tt.command); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestStoreDataChain(t *testing.T) {
	x := newTester(t, config(pki.P256))
	cla := fmt.Sprintf("%02X", 0x80|x.channel)
	t.Run("255 blocks", func(t *testing.T) {
		// A nickname that is far too long, one octet a block but for the begin.
		command := rsp.NicknameRequest{ICCID: testICCID(1)}
		long := command
		long.Nickname = strings.Repeat("x", 200)
		data := long.Append(nil)
		data = append(data[:len(data):len(data)], tlv.Append(nil, 0x9E, make([]byte, 40))...)
		blocks := 255
		for i := range blocks {
			piece := []byte{data[min(i, len(data)-1)]}
			p1 := "11"
			if i == blocks-1 {
				p1 = "91"
			}
			got := x.apdu(fmt.Sprintf("%sE2%s%02X01%X", cla, p1, i, piece))
			if i < blocks-1 && got != "9000" {
				t.Fatalf("block %d: %s", i, got)
			}
			if i == blocks-1 && got != "6A80" { // octets after the element
				t.Fatalf("last block: %s", got)
			}
		}
	})
	for _, tt := range []struct {
		name     string
		commands []string
		want     string
	}{
		{"two blocks", []string{"E2110003BF3E03", "E29101035C015A00"}, "BF3E125A10" + string(testEID) + "9000"},
		{"begins at 1", []string{"E2910106BF3E035C015A00"}, "6A86"},
		{"a number left out", []string{"E2110003BF3E03", "E29102035C015A00"}, "6A86"},
		{"a number twice", []string{"E2110003BF3E03", "E2110101BF", "E29101035C015A00"}, "6A86"},
		{"begun anew", []string{"E2110003BF2200", "E2910006BF3E035C015A00"}, "BF3E125A10" + string(testEID) + "9000"},
		{"broken by another command", []string{"E2110003BF3E03", "F2000C00", "E29101035C015A00"}, "6A86"},
		{"without data", []string{"E2910000"}, "6700"},
		{"other P1", []string{"E2900006BF3E035C015A00"}, "6A86"},
		{"unknown function", []string{"E2910003BF7F0000"}, "6A88"},
		{"not whole", []string{"E2910003BF3E0400"}, "6A80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, c := range tt.commands {
				got = x.apdu(cla + c)
			}
			if got != tt.want {
				t.Errorf("answer %s, want %s", got, tt.want)
			}
		})
	}
	t.Run("all block numbers used up", func(t *testing.T) {
		got := ""
		for i := range 256 {
			got = x.apdu(fmt.Sprintf("%sE211%02X01BF", cla, i))
		}
		if got != "6A84" {
			t.Errorf("block 255 that is not the last: %s", got)
		}
	})
}

func TestGetResponse(t *testing.T) {
	x := newTester(t, config(pki.P256))
	channel := fmt.Sprintf("%02X", x.channel)
	whole := fmt.Sprintf("%X", x.es10([]byte{0xBF, 0x22, 0}))
	if len(whole)/2 < 110 {
		t.Fatalf("euiccInfo2 has only %d octets", len(whole)/2)
	}
	// Make an answer longer than 300 octets: profiles with long names.
	for n := range 6 {
		x.add(n)
	}
	list := fmt.Sprintf("%X", x.es10([]byte{0xBF, 0x2D, 0}))
	size := len(list) / 2
	if size < 320 {
		t.Fatalf("the profile list has only %d octets", size)
	}
	ask := func(le string) string { return x.apdu("8" + channel[1:] + "E2910003BF2D00" + le) }
	for _, tt := range []struct {
		name, le string
		first    int
	}{
		{"one octet", "01", 1},
		{"256 octets", "00", 256},
		{"none", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ask(tt.le)
			want := list[:2*tt.first] + fmt.Sprintf("61%02X", left(size-tt.first))
			if got != want {
				t.Fatalf("answer %s, want %s", got, want)
			}
			rest := list[2*tt.first:]
			if got := x.apdu(channel + "C0000001"); got != rest[:2]+fmt.Sprintf("61%02X", left(len(rest)/2-1)) {
				t.Errorf("GET RESPONSE of 1: %s", got)
			}
			if got := x.apdu(channel + "C00000FFFF"); got != "6700" {
				t.Errorf("GET RESPONSE with data missing: %s", got)
			}
		})
	}
	t.Run("300 octets, extended", func(t *testing.T) {
		ask("")
		if got := x.apdu(channel + "C0000000012C"); got != list[:600]+fmt.Sprintf("61%02X", left(size-300)) {
			t.Errorf("GET RESPONSE of 300: %s", got)
		}
		if got := x.apdu(channel + "C00000000000"); got != list[600:]+"9000" {
			t.Errorf("the rest: %s", got)
		}
		if got := x.apdu(channel + "C0000000"); got != "6985" {
			t.Errorf("nothing left: %s", got)
		}
	})
	t.Run("T=0", func(t *testing.T) {
		x.card.SetTerminal(true)
		defer x.card.SetTerminal(false)
		if got := ask("00"); got != fmt.Sprintf("61%02X", left(size)) {
			t.Errorf("case 4 command: %s", got)
		}
		if got := x.apdu(channel + "C00000FF"); got != list[:510]+fmt.Sprintf("61%02X", left(size-255)) {
			t.Errorf("GET RESPONSE of 255: %s", got)
		}
		x.apdu(channel + "F2000C00")
		if got := x.apdu(channel + "C00000FF"); got != "6985" {
			t.Errorf("after another command: %s", got)
		}
	})
}

func left(n int) int {
	if n >= 256 {
		return 0
	}
	return n
}

func FuzzTransmit(f *testing.F) {
	x := newTester(f, config(pki.P256))
	x.enable(x.add(1), false)
	card := x.card
	for _, seed := range []string{
		"00A4040C07A0000000871002", "00A4000C026F07", "00A4080C047FFF6F07", "00B0870009", "00D6000001FF", "00A2010401FF",
		"0088008122100000000000000000000000000000000010000000000000000000000000000000FF", "002000010831323334FFFFFFFF",
		"002C0001103132333435363738313233" + "34FFFFFFFF",
		"0070000001", "00A4040010A0000005591010FFFFFFFF890000010000", "80E2910006BF3E035C015A00", "80E2910003BF2D00",
		"80E2910003BF2E0000", "80E29100", "00C0000000", "80AA0000", "00A40004023F00", "00B0000000", "00B2010400", "0088008122",
		"0020000108", "80F2000000", "8012000000",
	} {
		command := unhex(seed)
		f.Add(append([]byte{byte(len(command))}, command...))
	}
	f.Fuzz(func(t *testing.T, apdus []byte) {
		if err := card.Reset(); err != nil {
			t.Fatal(err)
		}
		if _, err := card.Transmit(append([]byte{0, 0xA4, 4, 0x0C, 16}, rsp.ISDR...)); err != nil {
			t.Fatal(err)
		}
		// The input is a run of commands, each with its length before it.
		for len(apdus) > 0 {
			n := min(int(apdus[0]), len(apdus)-1)
			command := apdus[1 : 1+n]
			apdus = apdus[1+n:]
			r, err := card.Transmit(command)
			if err != nil {
				t.Fatalf("%X: %v", command, err)
			}
			if len(r) < 2 || r[len(r)-2]&0xF0 != 0x60 && r[len(r)-2]&0xF0 != 0x90 {
				t.Fatalf("%X was answered with %X", command, r)
			}
		}
	})
}

// FuzzES10 brings octets to the ISD-R as one command, in each stage of a session.
func FuzzES10(f *testing.F) {
	for tag := range functions {
		f.Add(tlv.Append(nil, tag, []byte{0x80, 1, 0}), byte(0))
	}
	x := newTester(f, config(pki.P256))
	r := x.run(pki.P256).ready()
	for _, unit := range r.bind().Units() {
		f.Add(unit, byte(2))
	}
	for tag := range iotFunctions {
		f.Add(tlv.Append(nil, tag, []byte{0x80, 1, 0}), byte(0x80))
	}
	f.Fuzz(func(t *testing.T, data []byte, stage byte) {
		cfg := config(pki.P256)
		cfg.IoT = stage >= 0x80
		x := newTester(t, cfg)
		r := x.run(pki.P256)
		switch stage % 4 {
		case 1:
			r.challengeCard()
		case 2:
			r.ready()
		case 3:
			r.ready()
			for _, unit := range r.bind().Units()[:4] {
				r.es10(unit)
			}
		}
		if len(data) > 0 && len(data) < maxChain {
			x.send(data)
		}
	})
}
