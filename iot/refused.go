package iot

import (
	"godwit/rsp"
	"godwit/tlv"
)

// Numbers with which the relayed functions fail, beyond those of ES9+.
const (
	RelayAddressMismatch  int64 = 50 // initiateAuthentication: not the SM-DP+ of the trigger
	RelayOIDMismatch      int64 = 51 // initiateAuthentication: not the OID of the activation code
	RelayUnknownOrder     int64 = 52 // initiateAuthentication: eimTransactionId unknown
	RelayPPRNotAllowed    int64 = 50 // authenticateClient
	RelayMetadataMismatch int64 = 50 // getBoundProfilePackage
	RelayEventUnknown     int64 = 56 // authenticateClient at an SM-DS
	RelayUndefined        int64 = 127
)

// Refused says how a relayed function failed: with a number in the ASN.1 binding,
// with a status code in the JSON binding. Whichever is missing when the answer is
// written is derived from the other; what SM-DP+s say is a status code. It is
// zero when the function succeeded.
type Refused struct {
	Error   int64
	Failure *rsp.Failure
}

// Refuse returns the refusal with a failure of ES9+, for the function whose answer
// has the given tag.
func Refuse(function tlv.Tag, f *rsp.Failure) Refused {
	return Refused{rsp.ASN1Error(function, f.StatusCode), f}
}

// failed reports whether the function failed.
func (f *Refused) failed() bool { return f.Error != 0 || f.Failure != nil }

// number returns the number of the ASN.1 binding.
func (f *Refused) number(function tlv.Tag) int64 {
	if f.Error == 0 && f.Failure != nil {
		return rsp.ASN1Error(function, f.Failure.StatusCode)
	}
	return f.Error
}

// failure returns the status code of the JSON binding, nil for success.
func (f *Refused) failure(function tlv.Tag) *rsp.Failure {
	if f.Failure == nil && f.Error != 0 {
		return rsp.ASN1Failure(function, f.Error)
	}
	return f.Failure
}
