package lpa

import (
	"context"

	"godwit/rsp"
	"godwit/tlv"
)

// A Relay carries the functions of ES9+ to an SM-DP+ on a way of its own: the eIM
// of SGP.32, 3.2.3.2, that stands between an IPA and the SM-DP+. Signed members
// arrive byte for byte as the SM-DP+ sent them.
type Relay interface {
	InitiateAuthentication(context.Context, *rsp.InitiateAuthenticationRequest) (*Proof, error)
	AuthenticateClient(context.Context, *rsp.AuthenticateClientRequest) (*Offered, error)
	GetBoundProfilePackage(context.Context, *rsp.GetBoundProfilePackageRequest) (*rsp.GetBoundProfilePackageResponse, error)
	CancelSession(context.Context, *rsp.CancelSessionES9Request) error
}

// A Proof is a server's proof of who it is, with what a relay may add.
type Proof struct {
	rsp.InitiateAuthenticationResponse

	MatchingID *string // nil: that of the request
	Context    []byte  // CtxParams1, a whole element A0; nil: the LPA makes it
}

// Offered is a server's offer, with what a relay may add.
type Offered struct {
	rsp.AuthenticateClientResponse

	HashedCode []byte // hash of the confirmation code for this run, 32 octets; nil: the LPA asks
}

// authenticateServer returns the ES10b command that presents the server.
func (p *Proof) authenticateServer(context *rsp.CtxParams1) []byte {
	if p.Context == nil {
		if p.MatchingID != nil {
			context.MatchingID = p.MatchingID
		}
		return rsp.AppendAuthenticateServer(nil, &p.InitiateAuthenticationResponse, context)
	}
	return tlv.AppendNested(nil, rsp.TagAuthenticateServer, func(dst []byte) []byte {
		for _, member := range [][]byte{p.ServerSigned1, p.ServerSignature1, p.CIKeyID, p.ServerCertificate, p.Context} {
			dst = append(dst, member...)
		}
		return dst
	})
}
