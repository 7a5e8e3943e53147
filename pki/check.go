package pki

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"godwit/ident"
)

// checkRoot checks that a certificate is fit to be a CI. Its dates are not
// judged: a root is trusted because somebody decided so.
func checkRoot(ci *Certificate) error {
	if !bytes.Equal(ci.Issuer.Raw, ci.Subject.Raw) {
		return problem(CI, CheckIssuer, "%s is issued by %s; a CI issues itself", ci.Subject, ci.Issuer)
	}
	if !ci.PublicKey.Verify(ci.TBS, ci.Signature) {
		return problem(CI, CheckSignature, "%s did not sign itself", ci.Subject)
	}
	if len(ci.SubjectKeyID) == 0 {
		return problem(CI, CheckIssuer, "%s has no subject key identifier, by which eUICCs choose it", ci.Subject)
	}
	if p := checkUsage(CI, ci); p != nil {
		return p
	}
	if p := checkPolicy(CI, ci); p != nil {
		return p
	}
	return nil
}

// checkIssued makes every check on a certificate whose issuer is known, in the
// order of SGP.22, 4.5.2.2. A zero time stands for a verifier without a clock.
// Callers look up revocation, which needs the CI's list.
func checkIssued(role Role, c, issuer *Certificate, now time.Time) *Problem {
	if !bytes.Equal(c.Issuer.Raw, issuer.Subject.Raw) {
		return problem(role, CheckIssuer, "its issuer is %q, but the certificate above it is of %q", c.Issuer, issuer.Subject)
	}
	if len(c.AuthorityKeyID) == 0 {
		return problem(role, CheckIssuer, "it does not name its issuer's key")
	}
	if !bytes.Equal(c.AuthorityKeyID, issuer.SubjectKeyID) {
		return problem(role, CheckIssuer, "it names issuer key %X, but %q has %X", c.AuthorityKeyID, issuer.Subject, issuer.SubjectKeyID)
	}
	if !issuer.PublicKey.Verify(c.TBS, c.Signature) {
		return problem(role, CheckSignature, "%q did not sign it", issuer.Subject)
	}
	if p := checkValidity(role, c, now); p != nil {
		return p
	}
	if p := checkUsage(role, c); p != nil {
		return p
	}
	if p := checkPolicy(role, c); p != nil {
		return p
	}
	if p := checkNameConstraint(role, c, issuer); p != nil {
		return p
	}
	return checkPathLength(role, c, issuer)
}

func checkValidity(role Role, c *Certificate, now time.Time) *Problem {
	if now.IsZero() {
		return nil
	}
	if now.Before(c.NotBefore) {
		return problem(role, CheckValidity, "it is valid from %s", c.NotBefore.Format(time.RFC3339))
	}
	if now.After(c.NotAfter) {
		return problem(role, CheckValidity, "it was valid until %s", c.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func checkUsage(role Role, c *Certificate) *Problem {
	if len(c.UnknownCritical) > 0 {
		return problem(role, CheckUsage, "it has a critical extension %s that is not known here", c.UnknownCritical[0])
	}
	want := roles[role].usage
	if c.KeyUsage&want != want {
		return problem(role, CheckUsage, "its key usage does not allow %s", usageName(want))
	}
	ca := want == UsageCertSign
	if ca != c.IsCA {
		if ca {
			return problem(role, CheckUsage, "its basic constraints do not make it an issuer")
		}
		return problem(role, CheckUsage, "its basic constraints make it an issuer of certificates")
	}
	var purposes []ident.OID
	switch role {
	case DPTLS, DSTLS:
		purposes = []ident.OID{ServerAuth}
	case Operator:
		purposes = []ident.OID{ClientAuth}
	}
	for _, purpose := range purposes {
		if !slices.Contains(c.ExtKeyUsage, purpose) {
			return problem(role, CheckUsage, "its extended key usage lacks %s", purpose)
		}
	}
	return nil
}

func usageName(u KeyUsage) string {
	switch u {
	case UsageDigitalSignature:
		return "digital signatures"
	case UsageCertSign:
		return "the signing of certificates"
	}
	return fmt.Sprintf("%b", u)
}

func checkPolicy(role Role, c *Certificate) *Problem {
	policy := roles[role].policy
	if policy == "" || c.hasPolicy(policy) {
		return nil
	}
	if other := c.Role(); other != 0 {
		return problem(role, CheckPolicy, "it is the certificate of another role: %s", other)
	}
	return problem(role, CheckPolicy, "it lacks the policy %s", policy)
}

// checkNameConstraint holds an eUICC to what the CI permitted its manufacturer,
// and an EUM to have been given such a limit at all.
func checkNameConstraint(role Role, c, issuer *Certificate) *Problem {
	switch role {
	case EUM:
		if !slices.ContainsFunc(c.PermittedNames, func(n Name) bool { return n.Organization != "" && n.SerialNumber != "" }) {
			return problem(role, CheckNameConstraint, "it does not say which organisation and EIDs it may certify")
		}
	case EUICC:
		eid, err := c.EID()
		if err != nil {
			return problem(role, CheckNameConstraint, "%v", err)
		}
		if c.Subject.Organization != issuer.Subject.Organization {
			return problem(role, CheckNameConstraint, "its organisation is %q, its manufacturer's %q", c.Subject.Organization, issuer.Subject.Organization)
		}
		for _, permitted := range issuer.PermittedNames {
			if permitted.SerialNumber != "" && permitted.Organization == c.Subject.Organization && strings.HasPrefix(string(eid), permitted.SerialNumber) {
				return nil
			}
		}
		return problem(role, CheckNameConstraint, "EID %s is not among those that %q may certify", eid, issuer.Subject.Organization)
	}
	return nil
}

// checkPathLength: an EUM may issue eUICC certificates and no further issuers,
// and its CI must leave room for it.
func checkPathLength(role Role, c, issuer *Certificate) *Problem {
	if role != EUM {
		return nil
	}
	if c.MaxPathLength != 0 {
		return problem(role, CheckPathLength, "its path length is not limited to 0")
	}
	if issuer.MaxPathLength == 0 {
		return problem(role, CheckPathLength, "its CI may not have issuers below it")
	}
	return nil
}

// checkHost compares a TLS certificate with the address that was dialled:
// whole names, letter case aside, no wildcards. SGP.22, 2.6.6.
func checkHost(role Role, c *Certificate, host string) *Problem {
	for _, name := range c.DNSNames {
		if strings.EqualFold(name, host) {
			return nil
		}
	}
	for _, address := range c.IPAddresses {
		if address.Unmap().String() == host {
			return nil
		}
	}
	names := slices.Clone(c.DNSNames)
	for _, address := range c.IPAddresses {
		names = append(names, address.String())
	}
	return problem(role, CheckName, "it is for %s, not for %q", strings.Join(names, ", "), host)
}
