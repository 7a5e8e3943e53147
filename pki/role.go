package pki

import (
	"errors"
	"fmt"
)

// A Role is what a certificate is for. SGP.22, 2.4.4 and SGP.14.
type Role uint8

// The roles. The zero value is no role.
const (
	CI       Role = iota + 1 // certificate issuer, the root
	EUM                      // eUICC manufacturer
	EUICC                    // one eUICC
	DPTLS                    // SM-DP+, transport
	DPAuth                   // SM-DP+, authentication
	DPPB                     // SM-DP+, profile binding
	DSTLS                    // SM-DS, transport
	DSAuth                   // SM-DS, authentication
	EIM                      // eIM, signing of packages; SGP.32
	Operator                 // an operator's client certificate for ES2+; no GSMA policy
)

// roles holds what a certificate must carry to stand for a role.
var roles = [...]struct {
	name   string
	policy string // certificate policy, "" for none
	usage  KeyUsage
}{
	CI:       {"CI", "2.23.146.1.2.1.0", UsageCertSign},
	EUICC:    {"eUICC", "2.23.146.1.2.1.1", UsageDigitalSignature},
	EUM:      {"EUM", "2.23.146.1.2.1.2", UsageCertSign},
	DPTLS:    {"SM-DP+ TLS", "2.23.146.1.2.1.3", UsageDigitalSignature},
	DPAuth:   {"DPauth", "2.23.146.1.2.1.4", UsageDigitalSignature},
	DPPB:     {"DPpb", "2.23.146.1.2.1.5", UsageDigitalSignature},
	DSTLS:    {"SM-DS TLS", "2.23.146.1.2.1.6", UsageDigitalSignature},
	DSAuth:   {"DSauth", "2.23.146.1.2.1.7", UsageDigitalSignature},
	EIM:      {"eIM", "", UsageDigitalSignature},
	Operator: {"operator", "", UsageDigitalSignature},
}

func (r Role) String() string {
	if int(r) < len(roles) && roles[r].name != "" {
		return roles[r].name
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Policy returns the object identifier of the role's certificate policy, or ""
// for a role that has none.
func (r Role) Policy() string { return roles[r].policy }

// A Check is one step of the verification of a chain.
type Check string

// The checks, in the order in which they are made.
const (
	CheckParse          Check = "parse"           // the octets are a certificate of the profile
	CheckRoot           Check = "root"            // the authority key identifier names a CI that is trusted here
	CheckIssuer         Check = "issuer"          // issuer name and authority key identifier are the issuer's
	CheckSignature      Check = "signature"       // the issuer signed it
	CheckValidity       Check = "validity"        // the time is between its dates
	CheckUsage          Check = "usage"           // key usage, extended key usage, basic constraints
	CheckPolicy         Check = "policy"          // the certificate policy is the role's
	CheckNameConstraint Check = "name constraint" // organisation and EID are within what the CI allowed the EUM
	CheckPathLength     Check = "path length"     // no longer chain than the issuer may have
	CheckRevocation     Check = "revocation"      // not on the CI's revocation list
	CheckName           Check = "name"            // a TLS certificate names the host; two certificates name the same server
)

// A Problem is why a certificate is refused: whose, at which check, and what was
// found. Servers turn role and check into a status code.
type Problem struct {
	Role   Role
	Check  Check
	Detail string
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%s certificate refused (%s): %s", p.Role, p.Check, p.Detail)
}

// AsProblem returns the problem in err's chain, if there is one.
func AsProblem(err error) (*Problem, bool) { return errors.AsType[*Problem](err) }

func problem(role Role, check Check, format string, args ...any) *Problem {
	return &Problem{Role: role, Check: check, Detail: fmt.Sprintf(format, args...)}
}
