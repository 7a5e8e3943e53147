// Package bench puts load on a server and measures what it costs: downloads from
// an SM-DP+, polls of an eIM, and requests of the API.
//
// Its chips are eUICCs reduced to what a server can see of them: real keys and
// certificates, real signatures over real challenges, one-time keys of their
// own. They decrypt nothing and check nothing, so that on a machine shared with
// the server most of the time is the server's. Whether a server is right is not
// measured here; the strict software eUICC (package euicc) sees to that.
package bench

import (
	"fmt"
	"time"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// A Chip is one eUICC as a server sees it.
type Chip struct {
	eid     ident.EID
	cred    *pki.Credential
	eum     []byte
	info1   []byte
	info2   []byte
	context rsp.DeviceInfo
	seq     int64
}

// A Maker makes chips under one EUM.
type Maker struct {
	eum    *pki.Issuer
	ciID   []byte
	prefix string
	next   int64
}

// NewMaker issues an EUM certificate under a test CI, for chips whose EID
// begins with the 8 digits of prefix.
func NewMaker(ci *pki.Issuer, prefix string) (*Maker, error) {
	eum, err := ci.IssueEUM(pki.Request{
		Role:      pki.EUM,
		Subject:   pki.Subject{Country: "XX", Organization: "Godwit bench", CommonName: "Godwit bench EUM"},
		OID:       "2.999.5",
		EIDPrefix: prefix,
		NotBefore: time.Now().Add(-time.Hour),
	})
	if err != nil {
		return nil, fmt.Errorf("issue EUM certificate: %w", err)
	}
	return &Maker{eum: eum, ciID: ci.Certificate.SubjectKeyID, prefix: prefix, next: time.Now().UnixMicro() * 1000}, nil
}

// Chip makes a chip that nobody has seen before.
func (m *Maker) Chip() (*Chip, error) {
	m.next++
	eid, err := ident.NewEID(m.prefix + fmt.Sprintf("%022d", m.next))
	if err != nil {
		return nil, err
	}
	cred, err := m.eum.Issue(pki.Request{
		Role:      pki.EUICC,
		Subject:   pki.Subject{CommonName: "Godwit bench eUICC"},
		EID:       eid,
		NotBefore: time.Now().Add(-time.Hour),
	})
	if err != nil {
		return nil, fmt.Errorf("issue eUICC certificate: %w", err)
	}
	ids := [][]byte{m.ciID}
	info1 := rsp.EUICCInfo1{SVN: rsp.Version{2, 5, 0}, Verification: ids, Signing: ids}
	info2 := rsp.EUICCInfo2{
		ProfileVersion: rsp.Version{2, 3, 1}, SVN: rsp.Version{2, 5, 0}, Firmware: rsp.Version{1, 0, 0},
		Resource: rsp.CardResource{FreeNonVolatile: 4 << 20, FreeVolatile: 64 << 10},
		UICC:     1<<32 - 1, RSP: rsp.AdditionalProfile | rsp.TestProfileSupport,
		Verification: ids, Signing: ids, ProtectionProfile: rsp.Version{1, 0, 0}, SASAccreditation: "GI-BA-UP-0419",
	}
	return &Chip{
		eid: eid, cred: cred, eum: m.eum.Certificate.Raw,
		info1: info1.Append(nil), info2: info2.Append(nil),
		context: rsp.DeviceInfo{TAC: [4]byte{0x35, 0x29, 0x06, 0x11}},
	}, nil
}

// authenticate answers AuthenticateServer.
func (c *Chip) authenticate(server []byte, matchingID string) ([]byte, error) {
	signed, err := rsp.ReadServerSigned1(server)
	if err != nil {
		return nil, err
	}
	context := rsp.CtxParams1{MatchingID: &matchingID, Device: c.context}
	signed1 := rsp.AppendEUICCSigned1(nil, signed, c.info2, context.Append(nil))
	signature, err := c.cred.Sign(signed1)
	if err != nil {
		return nil, err
	}
	return rsp.AppendAuthenticateServerResponse(nil, signed1, signature, c.cred.Certificate.Raw, c.eum), nil
}

// prepare answers PrepareDownload with a one-time key of the chip.
func (c *Chip) prepare(smdpSigned2, smdpSignature2 []byte) ([]byte, error) {
	signed, err := rsp.ReadSMDPSigned2(smdpSigned2)
	if err != nil {
		return nil, err
	}
	key, err := pki.GenerateAgreementKey(pki.P256)
	if err != nil {
		return nil, err
	}
	signed2 := rsp.AppendEUICCSigned2(nil, signed.TransactionID, key.Public(), nil)
	signature, err := rsp.ParseSignature(smdpSignature2)
	if err != nil {
		return nil, err
	}
	own, err := rsp.SignEUICCSigned2(c.cred.Key, signed2, signature)
	if err != nil {
		return nil, err
	}
	return rsp.AppendPrepareDownloadResponse(nil, signed2, own), nil
}

// installed is the chip's word that the profile is there.
func (c *Chip) installed(id rsp.TransactionID, iccid ident.ICCID, oid ident.OID, address string) ([]byte, error) {
	c.seq++
	result := rsp.InstallationResult{
		TransactionID: id,
		Notification:  rsp.NotificationMetadata{Sequence: c.seq, Event: rsp.EventInstall, Address: address, ICCID: iccid},
		OID:           oid,
		AID:           rsp.ISDP(0x10),
		SIMAResponse:  []byte{0x30, 0x07, 0xA0, 0x05, 0x30, 0x03, 0x80, 0x01, 0x00},
	}
	return result.Sign(c.cred.Key)
}
