package euicc

import (
	"bytes"

	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// Errors of LoadCRL. SGP.22 v2.5, 5.7.12.
const (
	crlInvalidSignature = 1
	crlInvalidFormat    = 2
	crlNoKey            = 4
	crlFresherLoaded    = 5
)

// loadCRL takes a CI's list of revoked certificates. From then on no server with
// a certificate on it is talked to.
func (c *Card) loadCRL(data []byte) ([]byte, error) {
	e, err := tlv.ParseTag(data, rsp.TagLoadCRL)
	if err != nil {
		return nil, refusal(swWrongData)
	}
	// By the rule of tags the list's own 30 is replaced by A0; some keep it.
	inner, err := tlv.Parse(e.Value)
	if err != nil || inner.Tag != tlv.Sequence && inner.Tag != 0xA0 {
		return rsp.AppendListError(nil, rsp.TagLoadCRL, crlInvalidFormat), nil
	}
	crl := tlv.Append(nil, tlv.Sequence, inner.Value)
	list, err := c.roots.AddCRL(crl)
	if err != nil {
		return rsp.AppendListError(nil, rsp.TagLoadCRL, crlError(err)), nil
	}
	err = c.update(func(s *state) error {
		kept := s.CRLs[:0:0]
		for _, old := range s.CRLs {
			if !sameIssuer(old, list) {
				kept = append(kept, old)
			}
		}
		s.CRLs = append(kept, crl)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tlv.AppendNested(nil, rsp.TagLoadCRL, func(b []byte) []byte { return tlv.Append(b, 0xA0, nil) }), nil
}

// sameIssuer reports whether an older list is of the same CI: its issuer name is
// inside it octet by octet.
func sameIssuer(old []byte, list *pki.RevocationList) bool {
	return bytes.Contains(old, list.Issuer.Raw)
}

// crlError maps what was wrong with a list to the number for it.
func crlError(err error) int64 {
	problem, ok := pki.AsProblem(err)
	if !ok {
		return rsp.ResultUndefined
	}
	switch problem.Check {
	case pki.CheckParse:
		return crlInvalidFormat
	case pki.CheckValidity:
		return crlFresherLoaded
	case pki.CheckIssuer, pki.CheckRoot:
		return crlNoKey
	}
	return crlInvalidSignature
}
