package smdp

import (
	"context"

	"godwit/rsp"
	"godwit/tlv"
)

// initiateAuthentication proves to an eUICC who we are. It stores nothing: what
// the next call needs is in the transaction identifier and derived from it.
// ES9+.InitiateAuthentication, SGP.22 v2.5, 5.6.1.
func (l *Listener) initiateAuthentication(_ context.Context, q *rsp.InitiateAuthenticationRequest) (*rsp.InitiateAuthenticationResponse, error) {
	address := q.Address()
	if !l.ours(address) {
		return nil, rsp.Refuse(rsp.AddressRefused, "this server is not %q", address)
	}
	if len(q.EUICCChallenge) != rsp.ChallengeSize {
		return nil, malformed("euiccChallenge has %d octets, want %d", len(q.EUICCChallenge), rsp.ChallengeSize)
	}
	info, err := rsp.ParseEUICCInfo1(q.EUICCInfo1)
	if err != nil {
		return nil, malformed("euiccInfo1: %v", err)
	}
	if info.SVN[0] < 2 {
		return nil, rsp.Refuse(rsp.SVNUnsupported, "the eUICC speaks SGP.22 version %s; this server speaks version 2", info.SVN)
	}
	pair, err := l.choose(info)
	if err != nil {
		return nil, err
	}
	id := l.minter.mint(ticket{at: l.cfg.Now(), trust: pair.tag, svn: info.SVN})
	signed := rsp.ServerSigned1{
		TransactionID:   id,
		EUICCChallenge:  q.EUICCChallenge,
		ServerAddress:   address,
		ServerChallenge: l.minter.challenge(id, address),
	}
	raw, signature, err := signed.Sign(pair.identity.Auth.Key)
	if err != nil {
		return nil, err
	}
	return &rsp.InitiateAuthenticationResponse{
		Header:            rsp.Succeeded,
		TransactionID:     id,
		ServerSigned1:     raw,
		ServerSignature1:  rsp.AppendSignature(nil, signature),
		CIKeyID:           tlv.Append(nil, tlv.OctetString, pair.euicc),
		ServerCertificate: pair.identity.Auth.Certificate.Raw,
	}, nil
}
