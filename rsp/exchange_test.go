package rsp

import (
	"bytes"
	"errors"
	"testing"

	"godwit/ident"
	"godwit/internal/reference"
	"godwit/pki"
	"godwit/tlv"
)

// exchange reads one file of the recorded exchange.
func exchange(t *testing.T, name string) []byte {
	t.Helper()
	return reference.File(t, "vectors", "exchange", name)
}

func publicKey(t *testing.T, name string) *pki.PublicKey {
	t.Helper()
	c, err := pki.ParseCertificate(exchange(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c.PublicKey
}

// One whole exchange of another implementation: every message is read, every
// signature verified, the package opened, and all of it written again to the
// same octets.
func TestExchange(t *testing.T) {
	dpAuth, dpPB, euicc := publicKey(t, "dpauth.der"), publicKey(t, "dppb.der"), publicKey(t, "euicc.der")
	id, err := TransactionIDFromOctets(exchange(t, "transaction-id.bin"))
	if err != nil {
		t.Fatal(err)
	}

	info1, err := ParseEUICCInfo1(exchange(t, "euicc-info1.der"))
	if err != nil || info1.SVN != (Version{2, 0, 0}) {
		t.Fatalf("EUICCInfo1: %+v, %v", info1, err)
	}
	same(t, "EUICCInfo1", info1.Append(nil), exchange(t, "euicc-info1.der"))

	// The answer to initiateAuthentication is recorded without its outer tags.
	recorded, err := tlv.ParseTag(exchange(t, "initiate-response.der"), tlv.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	asn1 := tlv.Append(nil, tagBinding, tlv.Append(nil, TagInitiateAuthentication, tlv.Append(nil, 0xA0, recorded.Value)))
	p, err := ParseASN1Response(asn1)
	if err != nil {
		t.Fatal(err)
	}
	initiate := p.(*InitiateAuthenticationResponse)
	same(t, "InitiateAuthenticationOk", AppendASN1Response(nil, initiate), asn1)
	if initiate.TransactionID != id {
		t.Errorf("transaction %s, want %s", initiate.TransactionID, id)
	}

	// 1: serverSignature1, as the eUICC checks it.
	context := &CtxParams1{}
	command := AppendAuthenticateServer(nil, initiate, context)
	request, err := ParseAuthenticateServerRequest(command)
	if err != nil {
		t.Fatal(err)
	}
	server, err := request.Verify(dpAuth)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(server.EUICCChallenge, exchange(t, "euicc-challenge.bin")) ||
		!bytes.Equal(server.ServerChallenge, exchange(t, "server-challenge.bin")) || server.ServerAddress != "smdp.example.com" {
		t.Errorf("serverSigned1 %+v", server)
	}
	same(t, "serverSigned1", server.Append(nil), initiate.ServerSigned1)
	refused(t, "serverSigned1", func(k *pki.PublicKey) error { _, err := request.Verify(k); return err }, dpPB)

	// 2: euiccSignature1.
	answer := exchange(t, "auth-server-response.der")
	authenticated, err := ParseAuthenticateServerResponse(answer)
	if err != nil {
		t.Fatal(err)
	}
	signed1, err := authenticated.Verify(euicc)
	if err != nil {
		t.Fatal(err)
	}
	if signed1.TransactionID != id || signed1.ServerAddress != "smdp.example.com" || signed1.Context.MatchingID != nil {
		t.Errorf("euiccSigned1 %+v", signed1)
	}
	same(t, "euiccSigned1", AppendEUICCSigned1(nil, server, signed1.Info.Raw, signed1.Context.Raw), authenticated.signed1)
	same(t, "AuthenticateServerResponse", AppendAuthenticateServerResponse(nil, authenticated.signed1,
		authenticated.Signature, authenticated.EUICCCertificate, authenticated.EUMCertificate), answer)
	same(t, "eUICC certificate", authenticated.EUICCCertificate, exchange(t, "euicc.der"))
	same(t, "EUM certificate", authenticated.EUMCertificate, exchange(t, "eum.der"))
	same(t, "ctxParams1", signed1.Context.Append(nil), signed1.Context.Raw)
	refused(t, "euiccSigned1", func(k *pki.PublicKey) error { _, err := authenticated.Verify(k); return err }, dpPB)

	// 3: smdpSignature2, which covers euiccSignature1.
	offerDER := tlv.Append(nil, tagBinding, exchange(t, "authenticate-response.der"))
	p, err = ParseASN1Response(offerDER)
	if err != nil {
		t.Fatal(err)
	}
	offer := p.(*AuthenticateClientResponse)
	same(t, "AuthenticateClientOk", AppendASN1Response(nil, offer), offerDER)
	prepare, err := ParsePrepareDownloadRequest(AppendPrepareDownload(nil, offer, nil))
	if err != nil {
		t.Fatal(err)
	}
	signed2, err := prepare.Verify(dpPB, authenticated.Signature)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "smdpSigned2", signed2.Append(nil), offer.SMDPSigned2)
	refused(t, "smdpSigned2", func(k *pki.PublicKey) error { _, err := prepare.Verify(k, authenticated.Signature); return err }, dpAuth)
	if _, err := prepare.Verify(dpPB, make([]byte, 64)); !errors.Is(err, ErrSignature) {
		t.Errorf("smdpSignature2 verifies for another euiccSignature1: %v", err)
	}
	metadata, err := ParseMetadata(offer.ProfileMetadata)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "metadata", metadata.Append(nil), exchange(t, "store-metadata.der"))

	// 4: euiccSignature2, which covers smdpSignature2.
	ready := exchange(t, "prepare-download-response.der")
	prepared, err := ParsePrepareDownloadResponse(ready)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := prepared.Verify(euicc, prepare.Signature())
	if err != nil {
		t.Fatal(err)
	}
	if prepared.TransactionID != id || signed.HashedCode != nil {
		t.Errorf("euiccSigned2 %+v", signed)
	}
	same(t, "PrepareDownloadResponse", AppendPrepareDownloadResponse(nil,
		AppendEUICCSigned2(nil, signed.TransactionID, signed.OneTimeKey, signed.HashedCode), prepared.signature2), ready)
	refused(t, "euiccSigned2", func(k *pki.PublicKey) error { _, err := prepared.Verify(k, prepare.Signature()); return err }, dpPB)

	// 5: smdpSign, which covers the eUICC's one-time key.
	packageDER := exchange(t, "bound-profile-package.der")
	bpp, err := ParseBoundProfilePackage(packageDER)
	if err != nil {
		t.Fatal(err)
	}
	channel, err := ParseInitialiseSecureChannel(bpp.Initialise)
	if err != nil {
		t.Fatal(err)
	}
	if err := channel.Verify(dpPB, signed.OneTimeKey); err != nil {
		t.Error(err)
	}
	if err := channel.Verify(dpPB, channel.ServerKey); !errors.Is(err, ErrSignature) {
		t.Errorf("smdpSign verifies for another one-time key: %v", err)
	}
	if !channel.SupportedCRT() || !channel.IsInstall() || channel.TransactionID != id {
		t.Errorf("InitialiseSecureChannel %+v", channel)
	}

	// The package opens under the keys that the server's one-time key gives.
	oneTime, err := pki.ParseAgreementKey(pki.P256, exchange(t, "otsk-dp.bin"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := oneTime.Agree(signed.OneTimeKey)
	if err != nil {
		t.Fatal(err)
	}
	keys := DeriveKeys(z[:], channel.HostID, ident.EID("89049032123451234512345678901235"))
	configure, stored, profile, profileKeys, err := bpp.Open(keys)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "profile", profile, exchange(t, "upp.der"))
	same(t, "stored metadata", stored, exchange(t, "store-metadata.der"))
	if profileKeys != nil {
		t.Error("the package has profile keys")
	}
	isdp, err := ParseConfigureISDP(configure)
	if err != nil {
		t.Fatal(err)
	}

	// The same binding gives the same octets, but for the random signature.
	binding := &Binding{
		TransactionID: id, HostID: channel.HostID, ServerKey: oneTime.Public(), EUICCKey: signed.OneTimeKey,
		Keys: keys, OID: isdp.OID, Metadata: stored, Profile: profile,
	}
	signer, err := pki.ParseKey(exchange(t, "dppb-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := binding.Append(nil, signer)
	if err != nil {
		t.Fatal(err)
	}
	copy(again[bytes.Index(packageDER, channel.signature):], channel.signature)
	same(t, "bound profile package", again, packageDER)

	// The LPA's pieces are the whole, in order.
	same(t, "load units", bytes.Join(bpp.Units(), nil), packageDER)

	// 6: euiccSignPIR.
	pending := exchange(t, "pending-notification.der")
	notification, err := ParsePendingNotification(pending)
	if err != nil {
		t.Fatal(err)
	}
	result, err := notification.VerifyInstallation(euicc)
	if err != nil {
		t.Fatal(err)
	}
	if result.Error != 0 || result.TransactionID != id || result.Notification.Sequence != 1 ||
		result.Notification.Event != EventInstall || result.Notification.ICCID != metadata.ICCID || len(result.AID) != 16 {
		t.Errorf("installation result %+v", result)
	}
	// That eUICC does not trim its bit strings; ours does. The rest is equal.
	same(t, "installation result", result.Append(nil), bytes.Replace(notification.signed, []byte{0x81, 2, 0, 0x80}, []byte{0x81, 2, 7, 0x80}, 1))
	refused(t, "installation result", func(k *pki.PublicKey) error { _, err := notification.VerifyInstallation(k); return err }, dpPB)
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: wrote %x\nwant  %x", what, got, want)
	}
}

func refused(t *testing.T, what string, verify func(*pki.PublicKey) error, wrong *pki.PublicKey) {
	t.Helper()
	if err := verify(wrong); !errors.Is(err, ErrSignature) {
		t.Errorf("%s verifies under another key: %v", what, err)
	}
}
