package lpa

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"godwit/euicc"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// The functions that manage profiles and the chip.
func TestChip(t *testing.T) {
	w := newWorld(t)
	c := w.lpa.Chip
	eid, err := c.EID()
	if err != nil || eid != testEID {
		t.Errorf("EID %s, %v", eid, err)
	}
	info, err := c.Info2()
	if err != nil || info.SVN != (rsp.Version{2, 5, 0}) || !info.Resource.Known {
		t.Errorf("EUICCInfo2 %+v, %v", info, err)
	}
	if rules, err := c.RAT(); err != nil || len(rules) != 1 {
		t.Errorf("rules %+v, %v", rules, err)
	}
	if err := c.SetDefaultDP("dp.example.com"); err != nil {
		t.Error(err)
	}
	if a, err := c.Addresses(); err != nil || a.DefaultDP != "dp.example.com" || a.RootDS != dsAddress {
		t.Errorf("addresses %+v, %v", a, err)
	}
	one := w.metadata.ICCID
	for n := range 2 {
		w.offer(n + 1)
		if _, err := w.lpa.Download(t.Context(), w.request()); err != nil {
			t.Fatal(err)
		}
	}
	two := w.metadata.ICCID

	if err := c.SetNickname(one, "Work"); err != nil {
		t.Error(err)
	}
	list, err := c.Profiles(rsp.Selector{ICCID: one})
	if err != nil || len(list) != 1 || *list[0].Nickname != "Work" || *list[0].Enabled || *list[0].Name != "Profile 1" {
		t.Fatalf("profiles %+v, %v", list, err)
	}
	if list, err := c.Profiles(rsp.Selector{AID: list[0].AID}); err != nil || len(list) != 1 || list[0].ICCID != one {
		t.Errorf("profiles %+v, %v", list, err)
	}
	enabled := func(want ident.ICCID) {
		t.Helper()
		list, err := c.Profiles(rsp.Selector{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if *p.Enabled != (p.ICCID == want) {
				t.Errorf("profile %s: enabled %v", p.ICCID, *p.Enabled)
			}
		}
	}
	if err := c.Enable(rsp.Selector{ICCID: one}, false); err != nil {
		t.Error(err)
	}
	enabled(one)
	if err := c.Enable(rsp.Selector{AID: rsp.ISDP(0x11)}, false); err != nil {
		t.Error(err)
	}
	enabled(two)
	for name, tt := range map[string]struct {
		err  error
		code int64
	}{
		"enable what is enabled":   {c.Enable(rsp.Selector{ICCID: two}, false), rsp.ResultWrongState},
		"disable what is disabled": {c.Disable(rsp.Selector{ICCID: one}, false), rsp.ResultWrongState},
		"delete what is enabled":   {c.Delete(rsp.Selector{ICCID: two}), rsp.ResultWrongState},
		"enable nothing":           {c.Enable(rsp.Selector{ICCID: "89000123456789012341"}, false), rsp.ResultNotFound},
		"name nothing":             {c.SetNickname("89000123456789012341", "x"), rsp.ResultNotFound},
		"remove nothing":           {c.Remove(9999), rsp.ResultNotFound},
	} {
		e, ok := errors.AsType[*ChipError](tt.err)
		if !ok || e.Code != tt.code {
			t.Errorf("%s: %v", name, tt.err)
		}
		if entry, known := Explain(tt.err); !known || entry.Title == "" {
			t.Errorf("%s: no explanation", name)
		}
	}
	if err := errors.Join(c.Disable(rsp.Selector{ICCID: two}, false), c.Delete(rsp.Selector{ICCID: two}), c.Reset(rsp.ResetOperational)); err != nil {
		t.Error(err)
	}
	enabled("")
	if got := w.profiles(); len(got) != 0 {
		t.Errorf("profiles %v", got)
	}
}

// A script is a card that plays its part from a list.
type script struct {
	t     *testing.T
	parts [][2]string // command and answer, in hexadecimal
}

func (s *script) Transmit(apdu []byte) ([]byte, error) {
	if len(s.parts) == 0 {
		s.t.Fatalf("nothing is foreseen for %X", apdu)
	}
	part := s.parts[0]
	s.parts = s.parts[1:]
	if got := fmt.Sprintf("%X", apdu); got != part[0] {
		s.t.Fatalf("the card got %s, want %s", got, part[0])
	}
	var out []byte
	if _, err := fmt.Sscanf(part[1], "%X", &out); err != nil {
		s.t.Fatal(err)
	}
	return out, nil
}

// opening is what every card sees first, on the given channel.
func opening(channel byte, class string) [][2]string {
	return [][2]string{
		{"80AA000005A903830107", "6D00"},
		{"0070000001", fmt.Sprintf("%02X9000", channel)},
		{class + "A4040010A0000005591010FFFFFFFF8900000100", "6110"},
		{class + "C0000010", "6F0E8410A0000005591010FFFFFFFF89009000"},
	}
}

// The octets on the way to the card. SGP.22 v2.5, 5.7.2; ETSI TS 102 221.
func TestAPDU(t *testing.T) {
	long := bytes.Repeat([]byte{0xAB}, 300)
	for _, tt := range []struct {
		name    string
		channel byte
		class   string
		parts   [][2]string
		run     func(*Chip) error
		sw      StatusWord
	}{
		{"answer at once", 1, "01", [][2]string{{"81E2910003BF2E00", "BF2E128010000102030405060708090A0B0C0D0E0F9000"}}, func(c *Chip) error {
			_, err := c.Challenge()
			return err
		}, 0},
		{"answer in two parts", 2, "02", [][2]string{
			{"82E2910003BF2E00", "6105"},
			{"02C0000005", "BF2E1280106110"},
			{"02C0000010", "000102030405060708090A0B0C0D0E0F9000"},
		}, func(c *Chip) error {
			_, err := c.Challenge()
			return err
		}, 0},
		{"another length wanted", 1, "01", [][2]string{
			{"81E2910003BF3100", "6100"}, {"01C0000000", "6C06"}, {"01C0000006", "BF31038001009000"},
		}, func(c *Chip) error { return c.order("x", rsp.TagEnableProfile, []byte{0xBF, 0x31, 0}) }, 0},
		{"two blocks on channel 5", 5, "41", [][2]string{
			{"C1E21100FF" + fmt.Sprintf("%X", long[:255]), "9000"}, {"C1E291012D" + fmt.Sprintf("%X", long[255:]), "9000"},
		}, func(c *Chip) error {
			_, err := c.StoreData(long)
			return err
		}, 0},
		{"a REFRESH follows", 1, "01", [][2]string{{"81E2910003BF3100", "BF3103800100910B"}}, func(c *Chip) error {
			return c.order("x", rsp.TagEnableProfile, []byte{0xBF, 0x31, 0})
		}, 0},
		{"refused in the first block", 1, "01", [][2]string{{"81E21100FF" + fmt.Sprintf("%X", long[:255]), "6985"}}, func(c *Chip) error {
			_, err := c.StoreData(long)
			return err
		}, 0x6985},
		{"unknown function", 1, "01", [][2]string{{"81E2910003BF2E00", "6A88"}}, func(c *Chip) error {
			_, err := c.Challenge()
			return err
		}, 0x6A88},
	} {
		t.Run(tt.name, func(t *testing.T) {
			card := &script{t, append(opening(tt.channel, tt.class), tt.parts...)}
			c, err := OpenChip(card)
			if err != nil {
				t.Fatal(err)
			}
			err = tt.run(c)
			sw, refused := errors.AsType[StatusWord](err)
			if refused != (tt.sw != 0) || sw != tt.sw || !refused && err != nil {
				t.Errorf("error %v, want status %04X", err, uint16(tt.sw))
			}
			if len(card.parts) != 0 {
				t.Errorf("%d commands did not come", len(card.parts))
			}
		})
	}
}

// A card without an eUICC, or without a channel to spare.
func TestOpenChipRefused(t *testing.T) {
	for name, parts := range map[string][][2]string{
		"no ISD-R":   {{"80AA000005A903830107", "6D00"}, {"0070000001", "019000"}, {"01A4040010A0000005591010FFFFFFFF8900000100", "6A82"}, {"0070800100", "9000"}},
		"no channel": {{"80AA000005A903830107", "9000"}, {"0070000001", "6A81"}},
		"no number":  {{"80AA000005A903830107", "9000"}, {"0070000001", "9000"}},
	} {
		t.Run(name, func(t *testing.T) {
			card := &script{t, parts}
			if _, err := OpenChip(card); err == nil || len(card.parts) != 0 {
				t.Errorf("error %v, %d commands did not come", err, len(card.parts))
			}
		})
	}
	card := must(euicc.NewMemory(euicc.Config{EID: testEID, Credentials: []euicc.Credential{theAuthority().chip}, Roots: []*pki.Certificate{theAuthority().ci.Certificate}}))
	card.SetFaults(euicc.Faults{Silent: true})
	if _, err := OpenChip(card); !errors.Is(err, euicc.ErrSilent) {
		t.Errorf("a silent card: %v", err)
	}
}

// endless is a card that always has more.
type endless struct{}

func (endless) Transmit([]byte) ([]byte, error) { return append(make([]byte, 256), 0x61, 0x00), nil }

// lost sends the assistant on for ever, and brings nothing.
type lost struct{ n byte }

func (l *lost) Transmit([]byte) ([]byte, error) { l.n++; return []byte{0x6C, l.n}, nil }

type short struct{}

func (short) Transmit([]byte) ([]byte, error) { return []byte{0x90}, nil }

func TestCardWithoutEnd(t *testing.T) {
	for _, card := range []Card{endless{}, short{}, &lost{}, foreign{0x61, 0x00}} {
		if _, err := (&Chip{card: card}).StoreData([]byte{1}); err == nil {
			t.Errorf("%T passes for a card", card)
		}
	}
	if _, err := (&Chip{card: endless{}}).StoreData(make([]byte, maxBlock*maxBlocks+1)); err == nil {
		t.Error("a chain longer than its numbers")
	}
}

// foreign answers every command with the same octets.
type foreign []byte

func (f foreign) Transmit([]byte) ([]byte, error) { return f, nil }

// Whatever a card answers, the assistant comes to an end.
func FuzzCardAnswers(f *testing.F) {
	f.Add([]byte{0x90, 0x00})
	f.Add([]byte{0xBF, 0x2D, 0x02, 0xA0, 0x00, 0x90, 0x00})
	f.Add([]byte{0x61, 0x00})
	f.Add([]byte{0x6C, 0x05})
	f.Fuzz(func(_ *testing.T, answer []byte) {
		if len(answer) > 2 && len(answer) < 256 && answer[len(answer)-2] == 0x61 {
			return // by such little pieces it takes long to come to the limit
		}
		c := &Chip{card: foreign(answer)}
		_, _ = c.EID()
		_, _ = c.Profiles(rsp.Selector{})
		_, _ = c.Pending()
		_, _ = c.Retrieve(rsp.NotificationFilter{})
		_, _ = c.Load([][]byte{{1}, {2}})
		_, _ = c.CancelSession(rsp.TransactionID{}, 0)
		_ = c.Enable(rsp.Selector{}, false)
	})
}
