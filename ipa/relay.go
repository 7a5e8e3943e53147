package ipa

import (
	"context"

	"godwit/iot"
	"godwit/lpa"
	"godwit/rsp"
	"godwit/tlv"
)

// A relay carries a download through the eIM. SGP.32 v1.2, 3.2.3.2.
type relay struct {
	esipa *Client
	order []byte // eimTransactionId of the trigger
}

// refused returns the error of a relayed function: the SM-DP+'s status code where
// there is one or the number stands for one, else the eIM's number.
func refused(function string, tag tlv.Tag, r *iot.Refused) error {
	switch {
	case r.Failure != nil:
		return r.Failure
	case r.Error == 0:
		return nil
	}
	if f := rsp.ASN1Failure(tag, r.Error); f.StatusCode != rsp.ExecutionFailed {
		return f
	}
	return &ESipaError{function, r.Error}
}

func (r *relay) InitiateAuthentication(ctx context.Context, q *rsp.InitiateAuthenticationRequest) (*lpa.Proof, error) {
	p, err := call[iot.InitiateAuthenticationResponse](ctx, r.esipa, &iot.InitiateAuthenticationRequest{
		EUICCChallenge: q.EUICCChallenge, SMDPAddress: q.SMDPAddress, EUICCInfo1: q.EUICCInfo1, TransactionID: r.order,
	}, maxAnswer)
	if err != nil {
		return nil, err
	}
	if err := refused("InitiateAuthentication", rsp.TagInitiateAuthentication, &p.Refused); err != nil {
		return nil, err
	}
	if p.TransactionID.IsZero() {
		signed, err := rsp.ReadServerSigned1(p.ServerSigned1)
		if err != nil {
			return nil, err
		}
		p.TransactionID = signed.TransactionID
	}
	return &lpa.Proof{
		InitiateAuthenticationResponse: rsp.InitiateAuthenticationResponse{
			Header: rsp.Succeeded, TransactionID: p.TransactionID, ServerSigned1: p.ServerSigned1,
			ServerSignature1: p.ServerSignature1, CIKeyID: p.CIKeyID, ServerCertificate: p.ServerCertificate,
		},
		MatchingID: p.MatchingID, Context: p.Context,
	}, nil
}

func (r *relay) AuthenticateClient(ctx context.Context, q *rsp.AuthenticateClientRequest) (*lpa.Offered, error) {
	p, err := call[iot.AuthenticateClientResponse](ctx, r.esipa, &iot.AuthenticateClientRequest{
		TransactionID: q.TransactionID, AuthenticateServerResponse: q.AuthenticateServerResponse,
	}, maxAnswer)
	if err != nil {
		return nil, err
	}
	if err := refused("AuthenticateClient", rsp.TagAuthenticateClient, &p.Refused); err != nil {
		return nil, err
	}
	if p.TransactionID.IsZero() {
		p.TransactionID = q.TransactionID
	}
	return &lpa.Offered{
		AuthenticateClientResponse: rsp.AuthenticateClientResponse{
			Header: rsp.Succeeded, TransactionID: p.TransactionID, ProfileMetadata: p.ProfileMetadata,
			SMDPSigned2: p.SMDPSigned2, SMDPSignature2: p.SMDPSignature2, SMDPCertificate: p.SMDPCertificate,
		},
		HashedCode: p.HashedCode,
	}, nil
}

func (r *relay) GetBoundProfilePackage(ctx context.Context, q *rsp.GetBoundProfilePackageRequest) (*rsp.GetBoundProfilePackageResponse, error) {
	p, err := call[iot.GetBoundProfilePackageResponse](ctx, r.esipa, &iot.GetBoundProfilePackageRequest{
		TransactionID: q.TransactionID, PrepareDownloadResponse: q.PrepareDownloadResponse,
	}, maxProfileAnswer)
	if err != nil {
		return nil, err
	}
	if err := refused("GetBoundProfilePackage", rsp.TagGetBoundProfilePackage, &p.Refused); err != nil {
		return nil, err
	}
	if p.TransactionID.IsZero() {
		p.TransactionID = q.TransactionID
	}
	return &rsp.GetBoundProfilePackageResponse{
		Header: rsp.Succeeded, TransactionID: p.TransactionID, BoundProfilePackage: p.BoundProfilePackage,
	}, nil
}

func (r *relay) CancelSession(ctx context.Context, q *rsp.CancelSessionES9Request) error {
	p, err := call[iot.CancelSessionResponse](ctx, r.esipa, &iot.CancelSessionRequest{
		TransactionID: q.TransactionID, CancelSessionResponse: q.CancelSessionResponse,
	}, maxAnswer)
	if err != nil {
		return err
	}
	return refused("CancelSession (ES9+)", rsp.TagCancelSession, &p.Refused)
}
