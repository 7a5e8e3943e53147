package iot

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// These tests are about what peers in the field write otherwise than the module
// has it. docs/compatibility.md says who.

func newKey(t *testing.T) (crypto.Signer, *pki.PublicKey) {
	t.Helper()
	key, err := pki.GenerateKey(pki.P256)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pki.PublicKeyOf(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

// signDER signs as verify expects it, and leaves the signature in DER.
func signDER(t *testing.T, key crypto.Signer, signed []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(appendToken(signed[:len(signed):len(signed)], nil))
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// nest appends an element around others.
func nest(tag tlv.Tag, parts ...[]byte) []byte {
	return tlv.AppendNested(nil, tag, func(dst []byte) []byte {
		for _, p := range parts {
			dst = append(dst, p...)
		}
		return dst
	})
}

const peersEID = ident.EID("89049032123451234512345678901235")

// TestPeerSignatures has packages and results with signatures in DER verified,
// and refused with the key of somebody else or another token.
func TestPeerSignatures(t *testing.T) {
	key, public := newKey(t)
	_, other := newKey(t)
	token := int64(7)

	request := &PackageRequest{EimID: "peer", EID: peersEID, Counter: 3, PSMO: []PSMO{{Op: OpEnable, ICCID: "8999708880000000005"}}}
	signed := request.append(nil)
	der := nest(TagPackage, signed, tlv.Append(nil, rsp.TagSignature, signDER(t, key, signed)))
	got, err := VerifyPackageRequest(der, public, nil)
	if err != nil || got.Counter != 3 || len(got.PSMO) != 1 || got.PSMO[0].ICCID != "8999708880000000005" {
		t.Errorf("package with a signature in DER: %+v, %v", got, err)
	}
	if _, err := VerifyPackageRequest(der, other, nil); err == nil {
		t.Error("a package was taken that another key has signed")
	}
	if _, err := VerifyPackageRequest(der, public, &token); err == nil {
		t.Error("a package was taken that is signed over another token")
	}

	for name, result := range map[string]*PackageResult{
		"results":      {EimID: "peer", Counter: 3, Sequence: 0, Results: []OpResult{{Op: OpEnable}}},
		"signed error": {EimID: "peer", Counter: 3, ErrorCode: new(PackageReplay)},
	} {
		signed := result.append(nil)
		// And without the tag of the arm.
		der := nest(TagPackage, nest(tlv.Sequence, signed, tlv.Append(nil, rsp.TagSignature, signDER(t, key, signed))))
		got, err := VerifyPackageResult(der, public, nil)
		if err != nil || got.Counter != 3 || len(got.Results) != len(result.Results) || (got.ErrorCode == nil) != (result.ErrorCode == nil) {
			t.Errorf("%s in a plain SEQUENCE: %+v, %v", name, got, err)
		}
		if head, err := ReadResultHeader(der); err != nil || head.Counter != 3 || head.Unsigned {
			t.Errorf("header of %s in a plain SEQUENCE: %+v, %v", name, head, err)
		}
		if _, err := VerifyPackageResult(der, other, nil); err == nil {
			t.Errorf("%s were taken that another key has signed", name)
		}
	}
	unsigned := nest(TagPackage, nest(tlv.Sequence, tlv.AppendString(nil, 0x80, "peer")))
	if got, err := VerifyPackageResult(unsigned, public, nil); err != nil || !got.Unsigned {
		t.Errorf("unsigned error in a plain SEQUENCE: %+v, %v", got, err)
	}
	long := nest(TagPackage, signed, tlv.Append(nil, rsp.TagSignature, make([]byte, maxSignature+1)))
	if _, err := VerifyPackageRequest(long, public, nil); err == nil {
		t.Error("a signature that is too long was taken")
	}
}

// TestPeerResults has results read whose CHOICEs come without their tags.
func TestPeerResults(t *testing.T) {
	number := tlv.AppendInt(nil, tlv.Integer, 5)
	profile := nest(rsp.TagProfileInfo, tlv.Append(nil, rsp.TagICCID, ident.ICCID("8999708880000000005").Octets()), tlv.AppendInt(nil, 0x9F70, 1))
	odd := nest(rsp.TagProfileInfo, tlv.AppendString(nil, rsp.TagICCID, "8999708880000000005"), tlv.AppendInt(nil, 0x9F70, 1))
	for name, c := range map[string]struct {
		raw  []byte
		want func(*OpResult) bool
	}{
		"list in a SEQUENCE": {nest(rsp.TagGetProfilesInfo, nest(tlv.Sequence, profile, odd)), func(o *OpResult) bool {
			return len(o.Profiles) == 2 && o.Profiles[0].ICCID == "8999708880000000005" && o.Profiles[1].ICCID == ""
		}},
		"list without anything around": {nest(rsp.TagGetProfilesInfo, profile), func(o *OpResult) bool { return len(o.Profiles) == 1 }},
		"error of a list":              {nest(rsp.TagGetProfilesInfo, number), func(o *OpResult) bool { return o.Code == 5 }},
		"eIMs in a SEQUENCE": {nest(tagListEim, nest(tlv.Sequence, nest(tlv.Sequence, tlv.AppendString(nil, 0x80, "peer")))), func(o *OpResult) bool {
			return len(o.Eims) == 1 && o.Eims[0].ID == "peer"
		}},
		"default SM-DP+": {nest(TagSetDefaultDPAddress, number), func(o *OpResult) bool { return o.Op == OpSetDefaultDP && o.Code == 5 }},
	} {
		e, err := tlv.Parse(c.raw)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := readOpResult(e); err != nil || !c.want(o) {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}

// TestPeerTexts has texts read that come as plain UTF8Strings.
func TestPeerTexts(t *testing.T) {
	address := tlv.AppendString(nil, tlv.UTF8String, "dp.example")
	e, err := tlv.Parse(nest(TagSetDefaultDPAddress, address))
	if err != nil {
		t.Fatal(err)
	}
	if p := readPSMO(e); p.Op != OpSetDefaultDP || p.Address != "dp.example" {
		t.Errorf("setDefaultDpAddress: %+v", p)
	}
	trigger, err := ParseDownloadTrigger(nest(TagDownloadTrigger, nest(0xA0, nest(0xA2, address))))
	if err != nil || trigger.SMDS == nil || *trigger.SMDS != "dp.example" {
		t.Errorf("trigger with an SM-DS: %+v, %v", trigger, err)
	}
}

// TestPeerData has data read that stand in BF52 without the arm.
func TestPeerData(t *testing.T) {
	certificate := nest(tlv.Sequence, tlv.AppendInt(nil, tlv.Integer, 1))
	notification := nest(tlv.Sequence, nest(rsp.TagNotificationMetadata))
	for name, c := range map[string]struct {
		raw  []byte
		want func(*DataResponse) bool
	}{
		"fields": {nest(TagData, nest(DataInfo1), nest(DataNotifications), nest(DataEUMCertificate, certificate)), func(p *DataResponse) bool {
			return p.Info1 != nil && p.Notifications != nil && string(p.EUMCertificate) == string(certificate)
		}},
		"one field": {nest(TagData, nest(DataInfo1)), func(p *DataResponse) bool { return p.Info1 != nil }},
		"only notifications": {nest(TagData, nest(DataNotifications, notification)), func(p *DataResponse) bool {
			return len(p.Notifications) == 1 && string(p.Notifications[0]) == string(notification)
		}},
		"only notifications in the arm": {nest(TagData, nest(0xA0, nest(DataNotifications, notification))), func(p *DataResponse) bool {
			return len(p.Notifications) == 1
		}},
		"nothing in the arm": {nest(TagData, nest(0xA0)), func(p *DataResponse) bool { return p.Error == nil && p.Notifications == nil }},
		"an error":           {nest(TagData, tlv.AppendInt(nil, tlv.Integer, 1)), func(p *DataResponse) bool { return p.Error != nil && *p.Error == 1 }},
	} {
		if p, err := ParseDataResponse(c.raw); err != nil || !c.want(p) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
