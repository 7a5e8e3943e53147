package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"
)

// compareWithStandard holds our reading of a P-256 certificate against the one of
// crypto/x509.
func compareWithStandard(t *testing.T, name string, own *Certificate, std *x509.Certificate) {
	t.Helper()
	differ := func(what string, a, b any) { t.Errorf("%s: %s is %v here and %v in crypto/x509", name, what, a, b) }
	if !bytes.Equal(own.TBS, std.RawTBSCertificate) {
		differ("TBS", len(own.TBS), len(std.RawTBSCertificate))
	}
	if n := new(big.Int).SetBytes(own.Serial); own.Serial[0]&0x80 == 0 && n.Cmp(std.SerialNumber) != 0 {
		differ("serial", n, std.SerialNumber)
	}
	if !bytes.Equal(own.Issuer.Raw, std.RawIssuer) || !bytes.Equal(own.Subject.Raw, std.RawSubject) {
		differ("name", own.Subject, std.Subject)
	}
	if own.Subject.CommonName != std.Subject.CommonName || own.Subject.SerialNumber != std.Subject.SerialNumber {
		differ("subject", own.Subject, std.Subject)
	}
	if own.Subject.Organization != last(std.Subject.Organization) || own.Subject.Country != last(std.Subject.Country) || own.Subject.OrganizationalUnit != last(std.Subject.OrganizationalUnit) {
		differ("subject", own.Subject, std.Subject)
	}
	if !own.NotBefore.Equal(std.NotBefore) || !own.NotAfter.Equal(std.NotAfter) {
		differ("validity", own.NotBefore, std.NotBefore)
	}
	if !bytes.Equal(own.SubjectKeyID, std.SubjectKeyId) || !bytes.Equal(own.AuthorityKeyID, std.AuthorityKeyId) {
		differ("key identifiers", own.SubjectKeyID, std.SubjectKeyId)
	}
	if uint16(own.KeyUsage)&0x1FF != uint16(std.KeyUsage) {
		differ("key usage", own.KeyUsage, std.KeyUsage)
	}
	if own.IsCA != std.IsCA {
		differ("CA", own.IsCA, std.IsCA)
	}
	limit := std.MaxPathLen
	if limit == 0 && !std.MaxPathLenZero {
		limit = -1
	}
	if own.MaxPathLength != limit {
		differ("path length", own.MaxPathLength, limit)
	}
	if !slices.Equal(own.DNSNames, std.DNSNames) {
		differ("DNS names", own.DNSNames, std.DNSNames)
	}
	if len(own.IPAddresses) != len(std.IPAddresses) {
		differ("IP addresses", own.IPAddresses, std.IPAddresses)
	}
	if !slices.Equal(own.CRLPoints, std.CRLDistributionPoints) {
		differ("CRL points", own.CRLPoints, std.CRLDistributionPoints)
	}
	var policies []string
	for _, p := range own.Policies {
		policies = append(policies, string(p))
	}
	var others []string
	for _, p := range std.Policies {
		others = append(others, p.String())
	}
	if !slices.Equal(policies, others) {
		differ("policies", policies, others)
	}
	if len(own.ExtKeyUsage) != len(std.ExtKeyUsage)+len(std.UnknownExtKeyUsage) {
		differ("extended key usage", own.ExtKeyUsage, std.ExtKeyUsage)
	}
	public, ok := std.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		t.Errorf("%s: key of type %T", name, std.PublicKey)
		return
	}
	if point, err := public.Bytes(); err != nil || !bytes.Equal(point, own.PublicKey.Bytes()) {
		differ("point", own.PublicKey.Bytes(), point)
	}
	var buf [SignatureSize + 8]byte
	if der := appendSignature(buf[:0], own.Signature); !bytes.Equal(der, std.Signature) {
		differ("signature", der, std.Signature)
	}
}

// last is how our reader treats an attribute that occurs twice.
func last(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[len(s)-1]
}
