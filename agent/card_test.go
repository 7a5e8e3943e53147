package agent

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/euicc"
	"godwit/ident"
	"godwit/lpa"
	"godwit/pki"
	"godwit/reader"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const firstEID, otherEID ident.EID = "89049032123451234512345678901235", "89049032000000000000000000000133"

var maker = sync.OnceValue(func() func(ident.EID) euicc.Config {
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	ci := must(pki.NewTestCI(pki.P256, pki.Request{NotBefore: began}))
	eum := must(ci.IssueEUM(pki.Request{
		NotBefore: began, OID: "2.999.5", EIDPrefix: "89049032",
		Subject: pki.Subject{Country: "ES", Organization: "RSP Test EUM", CommonName: "EUM Test"},
	}))
	return func(eid ident.EID) euicc.Config {
		chip := must(eum.Issue(pki.Request{Role: pki.EUICC, EID: eid, NotBefore: began}))
		return euicc.Config{
			EID: eid, Roots: []*pki.Certificate{ci.Certificate},
			Credentials: []euicc.Credential{{EUM: eum.Certificate, EUICC: chip.Certificate, Key: chip.Key}},
		}
	}
})

// A slot is a place for a card. What is put into it is reset.
type slot struct {
	card   *euicc.Card
	broken bool
	opened int
}

func (s *slot) open() (reader.Card, error) {
	if s.card == nil {
		return nil, errors.New("nothing is in the slot")
	}
	s.broken = false
	s.opened++
	return s, s.card.Reset()
}

func (s *slot) Transmit(apdu []byte) ([]byte, error) {
	if s.broken || s.card == nil {
		return nil, errors.New("unplugged")
	}
	return s.card.Transmit(apdu)
}

func (*slot) Close() error { return nil }

// TestSteady unplugs the way to the card: the assistant above goes on with the
// same chip, and with no other.
func TestSteady(t *testing.T) {
	eid, err := ident.NewEID(string(otherEID[:30]))
	if err != nil {
		t.Fatal(err)
	}
	first, other := must(euicc.NewMemory(maker()(firstEID))), must(euicc.NewMemory(maker()(eid)))
	s := &slot{card: first}
	card := &steady{open: s.open}
	chip, err := lpa.OpenChip(card)
	if err != nil {
		t.Fatal(err)
	}
	wantEID := func(what string) {
		t.Helper()
		if err := chip.Revive(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got, err := chip.EID(); err != nil || got != firstEID {
			t.Fatalf("%s: %s, %v", what, got, err)
		}
	}
	wantEID("at first")
	s.broken = true
	if _, err := chip.EID(); !errors.As(err, new(*wayError)) {
		t.Errorf("unplugged: %v", err)
	}
	wantEID("plugged again")
	if s.opened != 2 {
		t.Errorf("the way was opened %d times, want 2", s.opened)
	}
	if err := first.Reset(); err != nil {
		t.Fatal(err)
	}
	wantEID("after a reset by others")

	// Another chip, with the way as it was: the channel is gone, and who asks for
	// a new one hears of it.
	s.card = other
	if err := other.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := chip.Revive(); !errors.Is(err, errOther) {
		t.Errorf("another chip on the same way: %v", err)
	}
	if _, err := card.EID(); !errors.Is(err, errOther) {
		t.Errorf("the number of another chip: %v", err)
	}
	s.card = nil
	if err := chip.Revive(); err == nil || errors.Is(err, errOther) {
		t.Errorf("no chip: %v", err)
	}
	s.card = first
	wantEID("back")
	card.forget()
	s.card, s.broken = other, true
	_, _ = card.Transmit([]byte{0, 0x70, 0, 0, 1})
	if got, err := card.EID(); err != nil || got != eid {
		t.Errorf("forgotten, the other chip is %s, %v", got, err)
	}
}

func TestPauses(t *testing.T) {
	for failures := range 64 {
		if p := pauseAfter(failures, errors.New("x")); p < firstPause/2 || p > longestPause {
			t.Errorf("after %d failures the pause is %s", failures, p)
		}
	}
	if p := pauseAfter(0, &refusal{Status: 429, Wait: time.Hour}); p < 30*time.Minute {
		t.Errorf("a server that asks for an hour gets %s", p)
	}
}

// TestWrongWayEnds has settings that no time mends: the agent ends, and does not
// try again.
func TestWrongWayEnds(t *testing.T) {
	for _, card := range []string{"usb:1", "at:", "/dev/ttyUSB2"} {
		c := Command{Server: "https://esim.example.com", Card: card, State: t.TempDir(), Report: time.Hour}
		if err := c.run(t.Context(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "--card") {
			t.Errorf("%s: %v", card, err)
		}
	}
}
