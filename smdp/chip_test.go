package smdp

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// A chip is an eUICC made of nothing but keys, certificates and the messages.
type chip struct {
	w     *world
	eid   ident.EID
	cred  *pki.Credential
	eum   []byte
	curve pki.Curve
	info1 rsp.EUICCInfo1
	info2 rsp.EUICCInfo2
	seq   int64
	key   *pki.AgreementKey // one-time key, kept for retries
}

func (w *world) chip(curves ...pki.Curve) *chip {
	w.t.Helper()
	if len(curves) == 0 {
		curves = []pki.Curve{w.curve}
	}
	w.mu.Lock()
	w.chips++
	n := w.chips
	w.mu.Unlock()
	eid, err := ident.NewEID(fmt.Sprintf("89049032%022d", n))
	if err != nil {
		w.t.Fatal(err)
	}
	eum := w.eums[curves[0]]
	cred, err := eum.Issue(pki.Request{Role: pki.EUICC, Subject: pki.Subject{CommonName: "Test eUICC"}, EID: eid, NotBefore: time.Now().Add(-time.Hour)})
	if err != nil {
		w.t.Fatal(err)
	}
	var ids [][]byte
	for _, c := range curves {
		ids = append(ids, w.cis[c].Certificate.SubjectKeyID)
	}
	return newChip(w, eid, cred, eum.Certificate.Raw, curves[0], ids)
}

func newChip(w *world, eid ident.EID, cred *pki.Credential, eum []byte, curve pki.Curve, ids [][]byte) *chip {
	return &chip{
		w: w, eid: eid, cred: cred, eum: eum, curve: curve,
		info1: rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids, Signing: ids},
		info2: rsp.EUICCInfo2{
			ProfileVersion: rsp.Version{2, 3, 1}, SVN: rsp.Version{2, 5, 0}, Firmware: rsp.Version{1, 0, 0},
			Resource: rsp.CardResource{FreeNonVolatile: 1 << 20, FreeVolatile: 64 << 10},
			UICC:     1<<32 - 1, RSP: rsp.AdditionalProfile, Verification: ids, Signing: ids,
			ProtectionProfile: rsp.Version{1, 0, 0}, SASAccreditation: "GI-BA-UP-0419",
		},
	}
}

// A session is one run of a chip with the server, step by step.
type session struct {
	*chip
	challenge []byte
	initiated *rsp.InitiateAuthenticationResponse
	offered   *rsp.AuthenticateClientResponse
	proof     []byte // euiccSignature1
}

// start makes the first call and verifies the server as an eUICC does.
func (c *chip) start() *session {
	c.w.t.Helper()
	s := &session{chip: c, challenge: rsp.NewChallenge()}
	s.initiated = call[rsp.InitiateAuthenticationResponse](c.w, rsp.FnInitiateAuthentication, rsp.InitiateAuthenticationRequest{
		SMDPAddress: address, EUICCChallenge: s.challenge, EUICCInfo1: c.info1.Append(nil),
	})
	wantCode(c.w.t, s.initiated.Header, "")
	return s
}

// answer is the chip's proof of who it is. change may falsify what is signed.
func (s *session) answer(matchingID *string, change func(*rsp.ServerSigned1)) []byte {
	s.w.t.Helper()
	server, err := rsp.ReadServerSigned1(s.initiated.ServerSigned1)
	if err != nil {
		s.w.t.Fatal(err)
	}
	if change != nil {
		change(server)
	}
	context := rsp.CtxParams1{MatchingID: matchingID, Device: rsp.DeviceInfo{TAC: [4]byte{0x35, 0x29, 0x06, 0x11}}}
	context.Device.Releases[rsp.EUTRANEPC] = rsp.Version{15, 0, 0}
	signed := rsp.AppendEUICCSigned1(nil, server, s.info2.Append(nil), context.Append(nil))
	return s.signAnswer(signed)
}

func (s *session) signAnswer(signed []byte) []byte {
	var err error
	if s.proof, err = s.cred.Sign(signed); err != nil {
		s.w.t.Fatal(err)
	}
	return rsp.AppendAuthenticateServerResponse(nil, signed, s.proof, s.cred.Certificate.Raw, s.eum)
}

// authenticate makes the second call.
func (s *session) authenticate(matchingID *string) rsp.ResponseHeader {
	s.w.t.Helper()
	return s.authenticateWith(s.answer(matchingID, nil))
}

func (s *session) authenticateWith(answer []byte) rsp.ResponseHeader {
	s.w.t.Helper()
	s.offered = call[rsp.AuthenticateClientResponse](s.w, rsp.FnAuthenticateClient, rsp.AuthenticateClientRequest{
		TransactionID: s.initiated.TransactionID, AuthenticateServerResponse: answer,
	})
	return s.offered.Header
}

// prepare is the chip's answer to PrepareDownload.
func (s *session) prepare(code string) []byte {
	s.w.t.Helper()
	certificate, err := pki.ParseCertificate(s.offered.SMDPCertificate)
	if err != nil {
		s.w.t.Fatal(err)
	}
	signature, err := rsp.ParseSignature(s.offered.SMDPSignature2)
	if err != nil {
		s.w.t.Fatal(err)
	}
	covered := rsp.AppendSignature(bytes.Clone(s.offered.SMDPSigned2), s.proof)
	if !certificate.PublicKey.Verify(covered, signature) {
		s.w.t.Error("smdpSignature2 does not verify")
	}
	if s.key == nil {
		s.newKey()
	}
	return s.prepareWith(s.key.Public(), code)
}

func (c *chip) newKey() {
	c.w.t.Helper()
	var err error
	if c.key, err = pki.GenerateAgreementKey(c.curve); err != nil {
		c.w.t.Fatal(err)
	}
}

func (s *session) prepareWith(point []byte, code string) []byte {
	s.w.t.Helper()
	var hashed []byte
	if code != "" {
		h := rsp.HashCodeForRun(rsp.HashCode(code), s.initiated.TransactionID)
		hashed = h[:]
	}
	signature, err := rsp.ParseSignature(s.offered.SMDPSignature2)
	if err != nil {
		s.w.t.Fatal(err)
	}
	signed := rsp.AppendEUICCSigned2(nil, s.initiated.TransactionID, point, hashed)
	own, err := rsp.SignEUICCSigned2(s.cred.Key, signed, signature)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return rsp.AppendPrepareDownloadResponse(nil, signed, own)
}

// download makes the third call.
func (s *session) download(code string) (*rsp.GetBoundProfilePackageResponse, rsp.ResponseHeader) {
	s.w.t.Helper()
	return s.downloadWith(s.prepare(code))
}

func (s *session) downloadWith(answer []byte) (*rsp.GetBoundProfilePackageResponse, rsp.ResponseHeader) {
	s.w.t.Helper()
	got := call[rsp.GetBoundProfilePackageResponse](s.w, rsp.FnGetBoundProfilePackage, rsp.GetBoundProfilePackageRequest{
		TransactionID: s.initiated.TransactionID, PrepareDownloadResponse: answer,
	})
	return got, got.Header
}

// opened is what a chip finds in a package.
type opened struct {
	metadata, profile []byte
	profileKeys       *rsp.Keys
	segments          [][]byte // of the profile, as they arrived
}

// open decrypts a package as an eUICC does, and fails the test when anything
// in it is wrong.
func (s *session) open(bpp []byte) opened {
	s.w.t.Helper()
	p, err := rsp.ParseBoundProfilePackage(bpp)
	if err != nil {
		s.w.t.Fatal(err)
	}
	certificate, err := pki.ParseCertificate(s.offered.SMDPCertificate)
	if err != nil {
		s.w.t.Fatal(err)
	}
	channel, err := rsp.ParseInitialiseSecureChannel(p.Initialise)
	if err != nil {
		s.w.t.Fatal(err)
	}
	if channel.TransactionID != s.initiated.TransactionID {
		s.w.t.Error("the package is of another transaction")
	}
	if err := channel.Verify(certificate.PublicKey, s.key.Public()); err != nil {
		s.w.t.Error(err)
	}
	z, err := s.key.Agree(channel.ServerKey)
	if err != nil {
		s.w.t.Fatal(err)
	}
	_, metadata, profile, keys, err := p.Open(rsp.DeriveKeys(z[:], channel.HostID, s.eid))
	if err != nil {
		s.w.t.Fatalf("open package: %v", err)
	}
	if !rsp.SameMetadata(s.offered.ProfileMetadata, metadata) {
		s.w.t.Error("the metadata offered are not those bound")
	}
	return opened{metadata, profile, keys, p.Profile}
}

// report sends the chip's word on an installation, and fails unless it is acknowledged.
func (s *session) report(iccid ident.ICCID, reason rsp.InstallError) []byte {
	s.w.t.Helper()
	s.seq++
	return s.reportAs(rsp.InstallationResult{
		TransactionID: s.initiated.TransactionID,
		Notification:  rsp.NotificationMetadata{Sequence: s.seq, Event: rsp.EventInstall, Address: address, ICCID: iccid},
		OID:           "2.999.10",
		AID:           rsp.ISDP(0x10),
		Command:       rsp.CommandLoadElements,
		Error:         reason,
		SIMAResponse:  []byte{0x30, 0x07, 0xA0, 0x05, 0x30, 0x03, 0x80, 0x01, 0x00},
	})
}

func (s *session) reportAs(result rsp.InstallationResult) []byte {
	s.w.t.Helper()
	signed, err := result.Sign(s.cred.Key)
	if err != nil {
		s.w.t.Fatal(err)
	}
	s.w.notify(signed)
	return signed
}

// notify sends a notification, which must be acknowledged with 204.
func (w *world) notify(pending []byte) {
	w.t.Helper()
	if w.asn1 {
		if status, body := w.postRaw(rsp.PathASN1, rsp.ContentTypeASN1, rsp.AppendASN1Request(nil,
			&rsp.HandleNotificationRequest{PendingNotification: pending})); status != http.StatusNoContent || len(body) > 0 {
			w.t.Errorf("notification: HTTP status %d %q, want 204", status, body)
		}
		return
	}
	if status, body := w.post(rsp.PathES9+rsp.FnHandleNotification, rsp.HandleNotificationRequest{PendingNotification: pending}); status != http.StatusNoContent || len(body) > 0 {
		w.t.Errorf("notification: HTTP status %d %q, want 204", status, body)
	}
}

// cancel makes the cancelling call.
func (s *session) cancel(reason rsp.CancelReason, change func(id *rsp.TransactionID, oid *ident.OID)) rsp.ResponseHeader {
	s.w.t.Helper()
	id, oid := s.initiated.TransactionID, ident.OID("2.999.10")
	if change != nil {
		change(&id, &oid)
	}
	signed := rsp.AppendCancelSessionSigned(nil, id, oid, reason)
	signature, err := s.cred.Sign(signed)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return s.cancelWith(rsp.AppendCancelSessionResponse(nil, signed, signature))
}

func (s *session) cancelWith(response []byte) rsp.ResponseHeader {
	s.w.t.Helper()
	return call[rsp.CancelSessionES9Response](s.w, rsp.FnCancelSession, rsp.CancelSessionES9Request{
		TransactionID: s.initiated.TransactionID, CancelSessionResponse: response,
	}).Header
}
