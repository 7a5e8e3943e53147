package rsp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"godwit/ident"
	"godwit/pki"
	"godwit/tlv"
)

const testEID = ident.EID("89049032123451234512345678901235")

func newKey(t testing.TB, curve pki.Curve) (crypto.Signer, *pki.PublicKey) {
	t.Helper()
	signer, err := pki.GenerateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pki.PublicKeyOf(signer)
	if err != nil {
		t.Fatal(err)
	}
	return signer, public
}

func newAgreement(t testing.TB, curve pki.Curve) *pki.AgreementKey {
	t.Helper()
	k, err := pki.GenerateAgreementKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testMetadata(nameLength int) *Metadata {
	return &Metadata{
		ICCID: "89000123456789012341", ServiceProvider: "Godwit", Name: "Test profile",
		Class: ClassTest, IconType: new(int64(1)), Icon: bytes.Repeat([]byte{0x5A}, nameLength),
	}
}

// Lengths around every border of a segment, with and without profile keys, and
// metadata in one and in two segments.
func TestBindingLengths(t *testing.T) {
	signer, public := newKey(t, pki.P256)
	for _, length := range []int{1, 15, 16, 1006, 1007, 1008, 1009, 2014, 2015, 65535, 200000} {
		for _, icon := range []int{10, 1000} {
			for _, ppk := range []bool{false, true} {
				t.Run(fmt.Sprintf("profile %d icon %d keys %v", length, icon, ppk), func(t *testing.T) {
					b := &Binding{
						TransactionID: NewTransactionID(), HostID: []byte("godwit"),
						ServerKey: bytes.Repeat([]byte{4}, PointSize), EUICCKey: bytes.Repeat([]byte{5}, PointSize),
						Keys: &Keys{ENC: [16]byte{1}}, OID: "2.999.10", Metadata: testMetadata(icon).AppendStored(nil),
						Profile: bytes.Repeat([]byte{0xA5, 0x80, 0x00}, length/3+1)[:length],
					}
					if ppk {
						b.ProfileKeys = &Keys{MAC: [16]byte{2}, Chaining: [16]byte{3}}
					}
					prefix := []byte("kept")
					out, err := b.Append(bytes.Clone(prefix), signer)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.HasPrefix(out, prefix) {
						t.Fatal("what was in the buffer is gone")
					}
					checkPackage(t, b, out[len(prefix):], public)
				})
			}
		}
	}
}

func checkPackage(t *testing.T, b *Binding, der []byte, public *pki.PublicKey) *BoundProfilePackage {
	t.Helper()
	bpp, err := ParseBoundProfilePackage(der)
	if err != nil {
		t.Fatal(err)
	}
	channel, err := ParseInitialiseSecureChannel(bpp.Initialise)
	if err != nil {
		t.Fatal(err)
	}
	if err := channel.Verify(public, b.EUICCKey); err != nil {
		t.Error(err)
	}
	for _, part := range [][][]byte{bpp.Configure, bpp.Metadata, bpp.Replace, bpp.Profile} {
		for i, segment := range part {
			if len(segment) > MaxSegment {
				t.Errorf("segment %d has %d octets", i, len(segment))
			}
		}
	}
	configure, metadata, profile, keys, err := bpp.Open(b.Keys)
	if err != nil {
		t.Fatal(err)
	}
	if (keys != nil) != (b.ProfileKeys != nil) || keys != nil && *keys != *b.ProfileKeys {
		t.Error("the profile keys differ")
	}
	if c, err := ParseConfigureISDP(configure); err != nil || c.OID != b.OID {
		t.Errorf("ConfigureISDP %+v, %v", c, err)
	}
	if !bytes.Equal(metadata, b.Metadata) || !bytes.Equal(profile, b.Profile) {
		t.Error("metadata or profile came out different")
	}
	if stored, err := bpp.StoredMetadata(); err != nil || !bytes.Equal(stored, b.Metadata) {
		t.Errorf("the LPA reads other metadata: %v", err)
	}
	checkUnits(t, bpp)
	return bpp
}

// checkUnits holds the load units to SGP.22 v2.5, 2.5.5: together they are the
// package, and each reads as what it is.
func checkUnits(t *testing.T, bpp *BoundProfilePackage) {
	t.Helper()
	if !bytes.Equal(bytes.Join(bpp.Units(), nil), bpp.Raw) {
		t.Error("the load units are not the package")
	}
	var segments [][]byte
	var parts []LoadPart
	for i, unit := range bpp.Units() {
		u, err := ParseLoadUnit(unit)
		if err != nil {
			t.Fatalf("unit %d: %v", i, err)
		}
		if u.Part != PartContinuation {
			parts = append(parts, u.Part)
		}
		if (i == 0) != (u.Initialise != nil) {
			t.Errorf("unit %d: InitialiseSecureChannel %x", i, u.Initialise)
		}
		if n := len(u.Segments); (u.Part == PartMetadata || u.Part == PartProfile) && n != 0 || u.Part == PartContinuation && n != 1 {
			t.Errorf("unit %d of part %v has %d segments", i, u.Part, n)
		}
		segments = append(segments, u.Segments...)
	}
	want := []LoadPart{PartStart, PartConfigure, PartMetadata, PartProfile}
	if bpp.Replace != nil {
		want = []LoadPart{PartStart, PartConfigure, PartMetadata, PartReplaceKeys, PartProfile}
	}
	if fmt.Sprint(parts) != fmt.Sprint(want) {
		t.Errorf("parts %x, want %x", parts, want)
	}
	if n := len(bpp.Configure) + len(bpp.Metadata) + len(bpp.Replace) + len(bpp.Profile); n != len(segments) {
		t.Errorf("%d segments in the units, %d in the package", len(segments), n)
	}
}

// A retry with the same one-time keys: the segments are the same octets, and
// InitialiseSecureChannel is signed again for the new run. SGP.22 v2.5, 5.6.3.
func TestBindingAgain(t *testing.T) {
	signer, public := newKey(t, pki.P256)
	for _, ppk := range []bool{false, true} {
		b := &Binding{
			TransactionID: NewTransactionID(), HostID: []byte{1}, ServerKey: bytes.Repeat([]byte{4}, PointSize),
			EUICCKey: bytes.Repeat([]byte{5}, PointSize), Keys: &Keys{}, Metadata: testMetadata(1).AppendStored(nil),
			Profile: bytes.Repeat([]byte("profile"), 1000),
		}
		if ppk {
			b.ProfileKeys = &Keys{ENC: [16]byte{9}}
		}
		first, err := b.Append(nil, signer)
		if err != nil {
			t.Fatal(err)
		}
		// The keys are kept sealed, and come back from 48 octets.
		if b.Keys, err = ParseKeys(b.Keys.Bytes()); err != nil {
			t.Fatal(err)
		}
		b.TransactionID = NewTransactionID()
		second, err := b.Append(nil, signer)
		if err != nil {
			t.Fatal(err)
		}
		one, two := checkPackage(t, b, second, public), mustParse(t, first)
		if bytes.Equal(one.Initialise, two.Initialise) {
			t.Error("InitialiseSecureChannel was not made anew")
		}
		if !bytes.Equal(second[len(second)-len(bytes.Join(one.Units()[1:], nil)):], bytes.Join(two.Units()[1:], nil)) {
			t.Error("the segments differ")
		}
		if !ppk {
			continue
		}
		// Another eUICC key: other session keys, and under profile keys the
		// profile's segments stay.
		b.Keys, b.EUICCKey = &Keys{ENC: [16]byte{7}}, bytes.Repeat([]byte{6}, PointSize)
		third, err := b.Append(nil, signer)
		if err != nil {
			t.Fatal(err)
		}
		three := checkPackage(t, b, third, public)
		if !bytes.Equal(bytes.Join(three.Profile, nil), bytes.Join(one.Profile, nil)) || bytes.Equal(three.Configure[0], one.Configure[0]) {
			t.Error("only the first segments should have changed")
		}
	}
}

func mustParse(t *testing.T, der []byte) *BoundProfilePackage {
	t.Helper()
	b, err := ParseBoundProfilePackage(der)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBindingRefuses(t *testing.T) {
	signer, _ := newKey(t, pki.P256)
	good := Binding{
		TransactionID: NewTransactionID(), HostID: []byte{1}, ServerKey: make([]byte, PointSize),
		EUICCKey: make([]byte, PointSize), Keys: &Keys{}, Metadata: []byte{0}, Profile: []byte{0},
	}
	for name, spoil := range map[string]func(*Binding){
		"no transaction":   func(b *Binding) { b.TransactionID = TransactionID{} },
		"no host":          func(b *Binding) { b.HostID = nil },
		"long host":        func(b *Binding) { b.HostID = make([]byte, 17) },
		"short server key": func(b *Binding) { b.ServerKey = b.ServerKey[1:] },
		"short eUICC key":  func(b *Binding) { b.EUICCKey = nil },
		"no keys":          func(b *Binding) { b.Keys = nil },
		"no metadata":      func(b *Binding) { b.Metadata = nil },
		"no profile":       func(b *Binding) { b.Profile = nil },
	} {
		b := good
		spoil(&b)
		if _, err := b.Append(nil, signer); err == nil {
			t.Errorf("%s: bound", name)
		}
	}
}

// Opening refuses a package in which two segments have changed places.
func TestOpenSwapped(t *testing.T) {
	signer, _ := newKey(t, pki.P256)
	b := &Binding{
		TransactionID: NewTransactionID(), HostID: []byte{1}, ServerKey: make([]byte, PointSize), EUICCKey: make([]byte, PointSize),
		Keys: &Keys{}, Metadata: testMetadata(1).AppendStored(nil), Profile: bytes.Repeat([]byte("x"), 3000),
	}
	der, err := b.Append(nil, signer)
	if err != nil {
		t.Fatal(err)
	}
	bpp := mustParse(t, der)
	bpp.Profile[0], bpp.Profile[1] = bpp.Profile[1], bpp.Profile[0]
	if _, _, _, _, err := bpp.Open(b.Keys); !errors.Is(err, ErrMAC) {
		t.Errorf("swapped segments: %v", err)
	}
}

// Every message of a download, made and read, on both curves, with and without
// a confirmation code.
func TestWholeExchange(t *testing.T) {
	for _, curve := range []pki.Curve{pki.P256, pki.BrainpoolP256r1} {
		for _, code := range []string{"", "0815"} {
			t.Run(fmt.Sprintf("%s code %q", curve, code), func(t *testing.T) { wholeExchange(t, curve, code) })
		}
	}
}

func wholeExchange(t *testing.T, curve pki.Curve, code string) {
	dpAuth, dpAuthKey := newKey(t, curve)
	dpPB, dpPBKey := newKey(t, curve)
	euicc, euiccKey := newKey(t, curve)
	certificate := tlv.Append(nil, tlv.Sequence, []byte{0x02, 0x01, 0x01}) // nobody reads it here

	// Server: initiateAuthentication.
	server := &ServerSigned1{NewTransactionID(), NewChallenge(), "smdp.example.com", NewChallenge()}
	raw, signature, err := server.Sign(dpAuth)
	if err != nil {
		t.Fatal(err)
	}
	initiate := &InitiateAuthenticationResponse{
		Succeeded, server.TransactionID, raw, AppendSignature(nil, signature),
		tlv.Append(nil, tlv.OctetString, make([]byte, 20)), certificate,
	}

	// eUICC: AuthenticateServer.
	q, err := ParseAuthenticateServerRequest(AppendAuthenticateServer(nil, initiate, &CtxParams1{MatchingID: new("M-1")}))
	if err != nil {
		t.Fatal(err)
	}
	seen, err := q.Verify(dpAuthKey)
	if err != nil || seen.TransactionID != server.TransactionID {
		t.Fatalf("%+v, %v", seen, err)
	}
	info := EUICCInfo2{SVN: Version{2, 5, 0}, ProfileVersion: Version{2, 3, 1}, RSP: AdditionalProfile, UICC: USIM | IoTMinimal}
	signed1 := AppendEUICCSigned1(nil, seen, info.Append(nil), q.Context.Raw)
	signature1, err := pki.Sign(euicc, signed1)
	if err != nil {
		t.Fatal(err)
	}

	// Server: authenticateClient.
	authenticated, err := ParseAuthenticateServerResponse(AppendAuthenticateServerResponse(nil, signed1, signature1, certificate, certificate))
	if err != nil {
		t.Fatal(err)
	}
	one, err := authenticated.Verify(euiccKey)
	if err != nil || one.Context.MatchingID == nil || *one.Context.MatchingID != "M-1" || !one.Info.UICC.Has(IoTMinimal) || one.Info.UICC.Has(CSIM) {
		t.Fatalf("%+v, %v", one, err)
	}
	metadata := testMetadata(10)
	metadata.NotStored = []byte{0x30, 0x00}
	raw2, signature2, err := (&SMDPSigned2{TransactionID: server.TransactionID, CodeRequired: code != ""}).Sign(dpPB, authenticated.Signature)
	if err != nil {
		t.Fatal(err)
	}
	offer := &AuthenticateClientResponse{
		Succeeded, server.TransactionID, metadata.Append(nil), raw2, AppendSignature(nil, signature2), certificate,
	}

	// LPA: confirmation code. eUICC: PrepareDownload.
	hash := HashCode(code)
	var hashed []byte
	if s, err := ReadSMDPSigned2(offer.SMDPSigned2); err != nil {
		t.Fatal(err)
	} else if s.CodeRequired {
		h := HashCodeForRun(hash, server.TransactionID)
		hashed = h[:]
	}
	prepare, err := ParsePrepareDownloadRequest(AppendPrepareDownload(nil, offer, hashed))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prepare.Verify(dpPBKey, signature1); err != nil {
		t.Fatal(err)
	}
	euiccOT := newAgreement(t, curve)
	signed2 := AppendEUICCSigned2(nil, server.TransactionID, euiccOT.Public(), prepare.HashedCode)
	euiccSignature2, err := SignEUICCSigned2(euicc, signed2, prepare.Signature())
	if err != nil {
		t.Fatal(err)
	}

	// Server: getBoundProfilePackage.
	prepared, err := ParsePrepareDownloadResponse(AppendPrepareDownloadResponse(nil, signed2, euiccSignature2))
	if err != nil {
		t.Fatal(err)
	}
	two, err := prepared.Verify(euiccKey, signature2)
	if err != nil {
		t.Fatal(err)
	}
	if code != "" && (!CheckCode(hash, server.TransactionID, two.HashedCode) || CheckCode(HashCode("0816"), server.TransactionID, two.HashedCode)) {
		t.Error("the confirmation code is checked wrongly")
	}
	if CheckCode(hash, server.TransactionID, nil) {
		t.Error("no confirmation code passes")
	}
	serverOT := newAgreement(t, curve)
	z, err := serverOT.Agree(two.OneTimeKey)
	if err != nil {
		t.Fatal(err)
	}
	b := &Binding{
		TransactionID: server.TransactionID, HostID: []byte("host"), ServerKey: serverOT.Public(), EUICCKey: two.OneTimeKey,
		Keys: DeriveKeys(z[:], []byte("host"), testEID), OID: "2.999.10", Metadata: metadata.AppendStored(nil), Profile: []byte("profile"),
	}
	der, err := b.Append(nil, dpPB)
	if err != nil {
		t.Fatal(err)
	}

	// LPA: what was shown is what comes. eUICC: installs.
	bpp := checkPackage(t, b, der, dpPBKey)
	stored, err := bpp.StoredMetadata()
	if err != nil || !SameMetadata(offer.ProfileMetadata, stored) {
		t.Errorf("the metadata differ: %v", err)
	}
	metadata.Name += "!"
	if SameMetadata(metadata.Append(nil), stored) {
		t.Error("different metadata pass")
	}
	channel, err := ParseInitialiseSecureChannel(bpp.Initialise)
	if err != nil {
		t.Fatal(err)
	}
	z2, err := euiccOT.Agree(channel.ServerKey)
	if err != nil || z2 != z {
		t.Errorf("the two sides agree on different secrets: %v", err)
	}
	pir, err := (&InstallationResult{
		TransactionID: server.TransactionID, Notification: NotificationMetadata{200, EventInstall, "smdp.example.com", metadata.ICCID},
		OID: "2.999.10", Command: CommandLoadElements, Error: InstallElement, SIMAResponse: []byte{0x30, 0x00},
	}).Sign(euicc)
	if err != nil {
		t.Fatal(err)
	}

	// Server: handleNotification, of both kinds.
	pending, err := ParsePendingNotification(pir)
	if err != nil || pending.TransactionID != server.TransactionID {
		t.Fatalf("%+v, %v", pending, err)
	}
	result, err := pending.VerifyInstallation(euiccKey)
	if err != nil || result.Error != InstallElement || result.Command != CommandLoadElements || result.Notification.Sequence != 200 {
		t.Errorf("%+v, %v", result, err)
	}
	other, err := (&NotificationMetadata{201, EventEnable, "n.example.com", metadata.ICCID}).Sign(euicc, certificate, certificate)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseNotifications(AppendNotifications(nil, [][]byte{pir, other}))
	if err != nil || len(list) != 2 || !bytes.Equal(list[0].Raw, pir) || !bytes.Equal(list[1].Raw, other) {
		t.Fatalf("%d notifications, %v", len(list), err)
	}
	if n, err := list[1].VerifyOther(euiccKey); err != nil || n.Event != EventEnable || n.Address != "n.example.com" {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := list[1].VerifyOther(dpPBKey); !errors.Is(err, ErrSignature) {
		t.Errorf("forged notification: %v", err)
	}
	if _, err := list[1].VerifyInstallation(euiccKey); err == nil {
		t.Error("an enable notification passes for an installation result")
	}

	// And the way out: cancelSession.
	signed := AppendCancelSessionSigned(nil, server.TransactionID, "2.999.10", CancelPostponed)
	cancelSignature, err := pki.Sign(euicc, signed)
	if err != nil {
		t.Fatal(err)
	}
	cancel, err := ParseCancelSessionResponse(AppendCancelSessionResponse(nil, signed, cancelSignature))
	if err != nil || cancel.TransactionID != server.TransactionID {
		t.Fatalf("%+v, %v", cancel, err)
	}
	if c, err := cancel.Verify(euiccKey); err != nil || c.OID != "2.999.10" || !c.Reason.Temporary() {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := cancel.Verify(dpPBKey); !errors.Is(err, ErrSignature) {
		t.Errorf("forged cancellation: %v", err)
	}
}

// An eUICC that refuses says so in the other arm, and nothing can be verified
// out of it.
func TestRefusals(t *testing.T) {
	id := NewTransactionID()
	_, key := newKey(t, pki.P256)
	a, err := ParseAuthenticateServerResponse(AppendAuthenticateServerError(nil, id, AuthInvalidOID))
	if err != nil || a.Error != AuthInvalidOID || a.TransactionID != id {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := a.Verify(key); err == nil {
		t.Error("a refusal verifies")
	}
	d, err := ParsePrepareDownloadResponse(AppendPrepareDownloadError(nil, id, DownloadUndefined))
	if err != nil || d.Error != DownloadUndefined || d.TransactionID != id {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := d.Verify(key, nil); err == nil {
		t.Error("a refusal verifies")
	}
	c, err := ParseCancelSessionResponse(AppendCancelSessionError(nil, 5))
	if err != nil || c.Error != 5 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := c.Verify(key); err == nil {
		t.Error("a refusal verifies")
	}
}

func TestInfo2RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := func(name string) Version {
			return Version(rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, name))
		}
		ids := func(name string) [][]byte {
			return rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 20, 20), 0, 3).Draw(t, name)
		}
		in := EUICCInfo2{
			ProfileVersion: version("profile"), SVN: version("svn"), Firmware: version("firmware"),
			Resource: CardResource{true, rapid.Uint32().Draw(t, "apps"), rapid.Uint32().Draw(t, "nvm"), rapid.Uint32().Draw(t, "ram")},
			UICC:     UICCCapability(rapid.Uint64().Draw(t, "uicc")), RSP: RSPCapability(rapid.Uint64().Draw(t, "rsp")),
			Verification: ids("verification"), Signing: ids("signing"),
			ForbiddenPPRs: PPR(rapid.Uint64Range(0, 7).Draw(t, "pprs")), ProtectionProfile: version("pp"),
			SASAccreditation: rapid.StringN(0, 64, 64).Draw(t, "sas"),
		}
		in.SVN[0] |= 1 // never absent
		if rapid.Bool().Draw(t, "category") {
			in.Category = new(rapid.Int64().Draw(t, "n"))
			in.TRE = new(rapid.Uint64().Draw(t, "tre"))
			in.TREReference = "ref"
			in.PlatformLabel = "label"
			in.AdditionalVersions = []Version{{3, 1, 0}}
		}
		der := in.Append(nil)
		out, err := ParseEUICCInfo2(der)
		if err != nil {
			t.Fatal(err)
		}
		if again := out.Append(nil); !bytes.Equal(again, der) {
			t.Fatalf("%x came back as %x", der, again)
		}
		if out.Resource != in.Resource || out.UICC != in.UICC || out.Firmware != in.Firmware {
			t.Fatalf("%+v came back as %+v", in, out)
		}
	})
}

func TestReads(t *testing.T) {
	i := &EUICCInfo2{ProfileVersion: Version{2, 3, 1}, AdditionalVersions: []Version{{3, 1, 0}}}
	for v, want := range map[Version]bool{{2, 3, 1}: true, {2, 1, 0}: true, {2, 4, 0}: false, {3, 1, 0}: true, {3, 3, 0}: false, {4, 0, 0}: false} {
		if i.Reads(v) != want {
			t.Errorf("Reads(%s) is %v", v, !want)
		}
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Metadata{
			ICCID:           "89000123456789012341",
			ServiceProvider: rapid.StringN(0, 32, -1).Draw(t, "provider"), Name: rapid.StringN(0, 64, -1).Draw(t, "name"),
			Class: ProfileClass(rapid.Int64Range(0, 2).Draw(t, "class")), PPRs: PPR(rapid.Uint64Range(0, 7).Draw(t, "pprs")),
		}
		if in.PPRs != 0 {
			in.Owner = &OperatorID{PLMN: [3]byte{0, 0xF1, 0x10}, GID1: []byte{1}}
		}
		for range rapid.IntRange(0, 3).Draw(t, "notifications") {
			in.Notifications = append(in.Notifications, NotificationConfig{Event(rapid.Uint64Range(1, 15).Draw(t, "events")), "a.example"})
		}
		if rapid.Bool().Draw(t, "vendor") {
			in.Stored, in.NotStored = []byte{0x30, 0}, []byte{0x30, 0}
		}
		if err := in.Check(); err != nil {
			t.Fatal(err)
		}
		der := in.Append(nil)
		out, err := ParseMetadata(der)
		if err != nil {
			t.Fatal(err)
		}
		if again := out.Append(nil); !bytes.Equal(again, der) {
			t.Fatalf("%x came back as %x", der, again)
		}
		if !SameMetadata(der, in.AppendStored(nil)) {
			t.Fatal("the stored form is another profile's")
		}
	})
}

// Rules authorisation table: the first rule that fits the owner decides.
// SGP.22 v2.5, 2.9.2.
func TestAllows(t *testing.T) {
	own := OperatorID{PLMN: [3]byte{0x00, 0xF1, 0x10}}
	group := OperatorID{PLMN: own.PLMN, GID1: []byte{7}}
	all := OperatorID{PLMN: [3]byte{0xEE, 0xEE, 0xEE}}
	for _, tt := range []struct {
		name             string
		rules            []Rule
		owner            *OperatorID
		pprs             PPR
		allowed, consent bool
	}{
		{"no policy rules", nil, nil, 0, true, false},
		{"update control alone", nil, nil, PPRUpdateControl, true, false},
		{"empty table", nil, &own, PPR1, false, false},
		{"any operator", []Rule{{PPR1, []OperatorID{all}, true}}, &own, PPR1, true, true},
		{"another rule", []Rule{{PPR2, []OperatorID{all}, true}}, &own, PPR1, false, false},
		{"one of two", []Rule{{PPR2, []OperatorID{all}, true}}, &own, PPR1 | PPR2, false, false},
		{"both, consent for one", []Rule{{PPR2, []OperatorID{own}, false}, {PPR1, []OperatorID{all}, true}}, &own, PPR1 | PPR2, true, true},
		{"first fit decides", []Rule{{PPR1, []OperatorID{own}, false}, {PPR1, []OperatorID{all}, true}}, &own, PPR1, true, false},
		{"group of the operator", []Rule{{PPR1, []OperatorID{group}, false}}, &own, PPR1, false, false},
		{"the group", []Rule{{PPR1, []OperatorID{group}, false}}, &group, PPR1, true, false},
		{"no owner", []Rule{{PPR1, []OperatorID{all}, false}}, nil, PPR1, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			der := AppendRAT(nil, tt.rules)
			rules, err := ParseRAT(der)
			if err != nil {
				t.Fatal(err)
			}
			allowed, consent := Allows(rules, tt.owner, tt.pprs)
			if allowed != tt.allowed || allowed && consent != tt.consent {
				t.Errorf("allowed %v, consent %v", allowed, consent)
			}
		})
	}
}
