package carrier

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"godwit/carrier/coretest"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
	"godwit/saip"
)

// TestCores drives every core network through the same life of a subscriber.
func TestCores(t *testing.T) {
	t.Run("built-in", func(t *testing.T) {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			r := New(d)
			testCore(t, r, r)
		})
	})
	t.Run("OsmoHLR", func(t *testing.T) {
		h := coretest.StartHLR(t)
		core := open(t, "osmohlr://"+h.Control)
		home, err := DialGSUP(t.Context(), h.GSUP, "godwit-test")
		if err != nil {
			t.Fatal(err)
		}
		defer home.Close()
		testCore(t, core, home)
	})
	t.Run("Open5GS", func(t *testing.T) {
		core := open(t, "open5gs+"+coretest.Mongo(t)+"open5gs_test").(*Open5GS)
		testCore(t, core, documents{core})
	})
}

func open(t *testing.T, address string) Core {
	t.Helper()
	core, err := Open(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { core.Close() })
	return core
}

// testCore is what every core network must do. The network makes challenges by
// home, and the card is that of a profile.
func testCore(t *testing.T, core Core, home AuC) {
	ctx := t.Context()
	s := subscriber()
	s.MSISDN = "+491511234567"
	other := s
	other.IMSI, other.ICCID, other.MSISDN = "262421234567891", "8949000000000000025", "+491511234568"
	usim := card(t, s)

	applied := func(s Subscriber) {
		t.Helper()
		for range 2 {
			if err := core.Apply(ctx, s); err != nil {
				t.Fatal(err)
			}
			if list, err := core.Compare(ctx, s); err != nil || len(list) > 0 {
				t.Fatalf("after it was applied, %v differs: %v, %v", s.IMSI, list, err)
			}
		}
	}
	differs := func(s Subscriber, want ...string) {
		t.Helper()
		list, err := core.Compare(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range list {
			got = append(got, d.What)
			if text := d.String(); strings.Contains(text, hex.EncodeToString(s.K)) {
				t.Errorf("a difference tells a key: %s", text)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Compare tells %v, want %v", list, want)
		}
	}
	// passes has the card pass, after as many challenges as that may take.
	passes := func(usim *milenage.USIM, challenges ...int) {
		t.Helper()
		asked := 0
		v, err := Authenticate(ctx, home, imsi, ident.PLMN{}, func(rand, autn [16]byte) (Answer, error) {
			asked++
			return answering(usim)(rand, autn)
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(challenges, asked) {
			t.Errorf("the card was asked %d times, want %v", asked, challenges)
		}
		if len(v.CK) != 16 || len(v.IK) != 16 {
			t.Errorf("CK has %d octets, IK %d", len(v.CK), len(v.IK))
		}
	}
	refused := func(imsi ident.IMSI) {
		t.Helper()
		_, err := home.ChallengeIn(ctx, imsi, ident.PLMN{})
		if _, ok := fault.As(err); !ok {
			t.Errorf("a challenge for %s: %v, want a refusal", imsi, err)
		}
	}

	// Never heard of.
	refused(imsi)
	differs(s, "subscriber")
	barred := s
	barred.Attach, barred.Data, barred.SMS = false, false, false
	applied(barred)
	refused(imsi)

	// Activated, several at once as after a crash. What was applied again leaves
	// the numbers alone: the card is asked once each time.
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := core.Apply(ctx, s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	applied(s)
	passes(usim, 1)
	applied(s)
	passes(usim, 1)
	applied(other)

	// Policy of the Fleet.
	limited := s
	limited.Data = false
	differs(limited, "data")
	applied(limited)
	differs(s, "data")
	passes(usim, 1)
	silent := s
	silent.SMS = false
	applied(silent)
	differs(s, "sms")
	applied(s)

	// A card ahead of the network is asked where it stands.
	for i := range usim.SEQ {
		usim.SEQ[i] += 100
	}
	passes(usim, 2)
	passes(usim, 1)

	// Deactivated, and active again.
	differs(barred, "attach")
	applied(barred)
	refused(imsi)
	differs(s, func() []string {
		if _, ok := core.(*OsmoHLR); ok {
			return []string{"keys", "data", "sms"}
		}
		if _, ok := core.(*Registry); ok {
			return []string{"attach", "data", "sms"}
		}
		return []string{"subscriber"}
	}()...)
	applied(s)
	passes(usim, 1, 2)
	passes(usim, 1)

	// A new card in place of the old one.
	renewed := s
	renewed.K = bytes.Repeat([]byte{8}, 16)
	differs(renewed, "keys")
	applied(renewed)
	_, err := Authenticate(ctx, home, imsi, ident.PLMN{}, answering(usim))
	wantRefusal(t, err, fault.Forbidden, "does not believe")
	passes(card(t, renewed), 1)

	// The neighbour was left alone all the while.
	differs(other)

	for _, bad := range []Subscriber{
		{IMSI: "12", K: make([]byte, 16), OPc: make([]byte, 16)},
		{IMSI: imsi, K: make([]byte, 15), OPc: make([]byte, 16)},
	} {
		if err := core.Apply(ctx, bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("Apply(%v) error = %v, want a refusal", bad, err)
		}
	}
	if _, ok := core.(*Registry); !ok {
		odd := other
		odd.K, odd.OPc, odd.Algorithm = bytes.Repeat([]byte{3}, 16), bytes.Repeat([]byte{4}, 32), saip.TUAK
		if err := core.Apply(ctx, odd); !fault.Is(err, fault.Conflict) {
			t.Errorf("a subscriber with TUAK: %v, want a refusal", err)
		}
	}
}

// documents makes challenges of subscribers' documents as the HSS of Open5GS
// does: the next number is 32 more, and a resynchronisation sets it.
type documents struct{ *Open5GS }

func (o documents) document(ctx context.Context, imsi ident.IMSI) (*openSubscriber, *milenage.Milenage, error) {
	is, err := o.read(ctx, Subscriber{IMSI: imsi})
	if err != nil {
		return nil, nil, err
	}
	if is == nil {
		return nil, nil, fault.New(fault.NotFound, "IMSI %s has no document", imsi)
	}
	k, err1 := hex.DecodeString(is.Security.K)
	opc, err2 := hex.DecodeString(is.Security.OPc)
	if err := errors.Join(err1, err2); err != nil {
		return nil, nil, err
	}
	f, err := milenage.New(k, opc)
	return is, f, err
}

func (o documents) store(ctx context.Context, imsi ident.IMSI, sqn int64) error {
	_, err := o.subscribers.UpdateOne(ctx, byIMSI(Subscriber{IMSI: imsi}), map[string]any{"$set": map[string]any{"security.sqn": sqn}})
	return err
}

func (o documents) ChallengeIn(ctx context.Context, imsi ident.IMSI, _ ident.PLMN) (v milenage.Vector, err error) {
	is, f, err := o.document(ctx, imsi)
	if err != nil {
		return v, err
	}
	var random [16]byte
	rand.Read(random[:])
	sqn := is.Security.SQN + 32
	v = milenage.NewVector(f, random, milenage.SQNOf(uint64(sqn)), [2]byte{0x80, 0})
	return v, o.store(ctx, imsi, sqn)
}

func (o documents) Resync(ctx context.Context, imsi ident.IMSI, random [16]byte, auts []byte) error {
	_, f, err := o.document(ctx, imsi)
	if err != nil {
		return err
	}
	sqn, err := milenage.Resync(f, random, auts)
	if err != nil {
		return err
	}
	return o.store(ctx, imsi, int64(sqn.Number()))
}

func TestOpenRefusesAddresses(t *testing.T) {
	for _, bad := range []string{
		"osmohlr://", "osmohlr://host/path", "osmohlr://user:pw@host", "http://host", "host:4259", "osmohlr:// host",
		"open5gs+mongodb://", "open5gs+mongodb://host/?sst=0", "open5gs+mongodb://host/?sst=x", "open5gs+mongodb://host/?sd=12",
		"open5gs+mongodb://u:geheim@ho st/",
	} {
		_, err := Open(bad, nil)
		if err == nil {
			t.Errorf("Open(%q) took it", bad)
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("the refusal tells the password: %v", err)
		}
	}
	if got := fmt.Sprint(Redacted("open5gs+mongodb://u:geheim@host/x"), Redacted("")); strings.Contains(got, "geheim") || !strings.Contains(got, BuiltIn) {
		t.Errorf("redacted: %s", got)
	}
	for address, want := range map[string]string{"h": "h:4259", "h:1": "h:1", "[::1]": "[::1]:4259", "[::1]:7": "[::1]:7"} {
		if got := NewOsmoHLR(address).control.address; got != want {
			t.Errorf("%s is reached at %s, want %s", address, got, want)
		}
	}
}
