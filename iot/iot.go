// Package iot holds the messages of remote SIM provisioning for devices without
// a user, as GSMA SGP.32 v1.2 defines them: the eUICC packages that an eIM signs
// and an eUICC answers (ESep), what eIM and IPA say to each other (ESipa) in both
// of its bindings, and the functions that SGP.32 adds to ES10b. What SGP.32
// takes from SGP.22 is in package rsp.
//
// As there, parsers keep the octets that a signature covers, share memory with
// their input, are bounded, and tolerate unknown trailing fields (SGP.32 v1.3
// adds some). What a peer signed is read by a Verify function only; what a Read
// function returns is a claim, good for finding the key.
//
// The package does no I/O and keeps no state.
package iot

import (
	"crypto"
	"fmt"

	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

// Tags of the messages. SGP.32 v1.2, annex A. Request and answer share a tag.
const (
	TagTransferEimPackage     tlv.Tag = 0xBF4E
	TagGetEimPackage          tlv.Tag = 0xBF4F
	TagProvideResult          tlv.Tag = 0xBF50
	TagPackage                tlv.Tag = 0xBF51
	TagData                   tlv.Tag = 0xBF52
	TagAcknowledgements       tlv.Tag = 0xBF53
	TagDownloadTrigger        tlv.Tag = 0xBF54
	TagGetEimConfiguration    tlv.Tag = 0xBF55
	TagGetCerts               tlv.Tag = 0xBF56
	TagAddInitialEim          tlv.Tag = 0xBF57
	TagProfileRollback        tlv.Tag = 0xBF58
	TagConfigureImmediate     tlv.Tag = 0xBF59
	TagImmediateEnable        tlv.Tag = 0xBF5A
	TagEnableEmergency        tlv.Tag = 0xBF5B
	TagDisableEmergency       tlv.Tag = 0xBF5C
	TagExecuteFallback        tlv.Tag = 0xBF5D
	TagReturnFromFallback     tlv.Tag = 0xBF5E
	TagConnectivityParameters tlv.Tag = 0xBF5F
	TagMemoryReset            tlv.Tag = 0xBF64
	TagSetDefaultDPAddress    tlv.Tag = 0xBF65
	TagIPAeActivation         tlv.Tag = 0xBF42
	TagISDRTemplate           tlv.Tag = 0xE1
)

// Bounds on what a peer may send. They are far above what is seen in the field.
const (
	MaxCommands      = 64   // commands of one package, results of one
	MaxProfiles      = 256  // of one list
	MaxEims          = 64   // associations of one eUICC
	MaxNotifications = 1024 // of one message, package results counted alike
	MaxEimID         = 128  // octets of an eIM identifier
)

// MaxCounter is the greatest counter that an eUICC takes (counterValueOutOfRange
// above it). SGP.32 v1.2, 2.11.1.1.
const MaxCounter = 1<<23 - 1

// An Op is a profile state management operation (PSMO) or an eIM configuration
// operation (eCO), or what a result is about.
type Op string

// Operations. SGP.32 v1.2, 2.11.1.
const (
	OpEnable       Op = "enable"
	OpDisable      Op = "disable"
	OpDelete       Op = "delete"
	OpList         Op = "listProfileInfo"
	OpGetRAT       Op = "getRAT"
	OpImmediate    Op = "configureImmediateEnable"
	OpSetFallback  Op = "setFallbackAttribute"
	OpDropFallback Op = "unsetFallbackAttribute"
	OpSetDefaultDP Op = "setDefaultDpAddress"
	OpAddEim       Op = "addEim"
	OpDeleteEim    Op = "deleteEim"
	OpUpdateEim    Op = "updateEim"
	OpListEim      Op = "listEim"
	OpRollback     Op = "rollback" // of results only
	// OpUnknown is a command or a result that this program does not know.
	OpUnknown Op = ""
)

// Results of operations beside those of SGP.22. What a number
// means depends on the operation.
const (
	ResultNoRollback       int64 = 20 // rollbackNotAvailable
	ResultReturnFallback   int64 = 21 // returnFallbackProfile: the profile to return to
	ResultNoFallback       int64 = 2  // fallbackNotAllowed, noFallbackAttribute
	ResultFallbackEnabled  int64 = 3  // fallbackProfileEnabled
	ResultMemory           int64 = 1  // insufficientMemory
	ResultAssociated       int64 = 2  // associatedEimAlreadyExists
	ResultCIUnknown        int64 = 3  // ciPKUnknown
	ResultInvalidToken     int64 = 5  // invalidAssociationToken
	ResultCounter          int64 = 6  // counterValueOutOfRange
	ResultCommandError     int64 = 7  // commandError
	ResultEimNotFound      int64 = 1  // eimNotFound
	ResultLastEimDeleted   int64 = 2  // lastEimDeleted: done, and no eIM is left
	ResultListIncorrect    int64 = 1  // incorrectInputValues of listProfileInfo
	ResultChangeOngoing    int64 = 11 // profileChangeOngoing of listProfileInfo
	ResultECallActive      int64 = 104
	ResultFallbackMissing  int64 = 6 // fallbackNotAvailable of BF5D and BF5E
	ResultEmergencyMissing int64 = 8 // ecallNotAvailable of BF5B
)

// Codes of a package that was not executed (EuiccPackageErrorCode). SGP.32 v1.2,
// 2.11.2.1.
const (
	PackageInvalidEID  int64 = 3
	PackageReplay      int64 = 4
	PackageCounter     int64 = 6
	PackageTooLong     int64 = 15
	PackageECallActive int64 = 104
	PackageUndefined   int64 = 127
)

// Codes with which an eUICC breaks a list of commands off (processingTerminated).
const (
	TerminatedTooLong   int64 = 1
	TerminatedUnknown   int64 = 2
	TerminatedInterrupt int64 = 3
	TerminatedUndefined int64 = 127
)

// appendToken appends the association token as signatures cover it: 84 01 00
// where none is agreed. SGP.32 v1.2, 2.11.1.1.
func appendToken(dst []byte, token *int64) []byte {
	if token == nil {
		return tlv.AppendInt(dst, 0x84, 0)
	}
	return tlv.AppendInt(dst, 0x84, *token)
}

// sign signs the octets of a signed structure with the token behind them.
func sign(signer crypto.Signer, signed []byte, token *int64) ([]byte, error) {
	return pki.Sign(signer, appendToken(signed[:len(signed):len(signed)], token))
}

// verify checks what sign made. The module says of signatures that they are
// octets; chips write r | s as in SGP.22, and some peers the DER form.
func verify(key *pki.PublicKey, signed, signature []byte, token *int64) bool {
	message := appendToken(signed[:len(signed):len(signed)], token)
	if key.Verify(message, signature) {
		return true
	}
	raw, err := pki.RawSignature(signature)
	return err == nil && key.Verify(message, raw)
}

// maxSignature is the longest DER form of a signature: two numbers of 33 octets.
const maxSignature = 72

// signature takes a signature in either form.
func signature(r *tlv.Reader) []byte {
	v := r.Value(rsp.TagSignature)
	if len(v) > maxSignature {
		r.Fail(fmt.Errorf("%w: a signature has at most %d octets, not %d", tlv.ErrValue, maxSignature, len(v)))
	}
	return v
}

// eimID takes an eIM identifier of 1 to 128 octets.
func eimID(r *tlv.Reader) string {
	v := r.Value(0x80)
	if r.Err() == nil && (len(v) == 0 || len(v) > MaxEimID) {
		r.Fail(fmt.Errorf("%w: an eIM identifier has 1 to %d octets, not %d", tlv.ErrValue, MaxEimID, len(v)))
	}
	return string(v)
}

// transactionID takes an optional transaction identifier: 1 to 16 octets, or nil.
func transactionID(r *tlv.Reader, tag tlv.Tag) []byte {
	v := r.OptionalValue(tag)
	if v != nil && (len(v) == 0 || len(v) > 16) {
		r.Fail(fmt.Errorf("%w: a transaction identifier has 1 to 16 octets, not %d", tlv.ErrValue, len(v)))
	}
	return v
}

func appendTransactionID(dst []byte, tag tlv.Tag, id []byte) []byte {
	if id == nil {
		return dst
	}
	return tlv.Append(dst, tag, id)
}

// optionalInt takes the next element as a number if it has the tag.
func optionalInt(r *tlv.Reader, tag tlv.Tag) *int64 {
	if r.Peek() != tag {
		return nil
	}
	n := r.Int(tag)
	if r.Err() != nil {
		return nil
	}
	return &n
}

func appendOptionalInt(dst []byte, tag tlv.Tag, n *int64) []byte {
	if n == nil {
		return dst
	}
	return tlv.AppendInt(dst, tag, *n)
}

// untagged takes a text that peers write with its tag of the module, 80, or as a
// plain UTF8String.
func untagged(r *tlv.Reader) string {
	tag := tlv.Tag(0x80)
	if r.Peek() == tlv.UTF8String {
		tag = tlv.UTF8String
	}
	return string(r.Value(tag))
}

// elements splits what is left of a reader, at most limit elements.
func elements(r *tlv.Reader, limit int) []tlv.Element {
	var out []tlv.Element
	for !r.Empty() {
		if len(out) == limit {
			r.Fail(fmt.Errorf("%w: a list of more than %d", tlv.ErrTooLong, limit))
			return nil
		}
		out = append(out, r.Next())
	}
	if r.Err() != nil {
		return nil
	}
	return out
}

// raws splits a list into its elements as they came.
func raws(e tlv.Element, limit int) ([][]byte, error) {
	r := e.Reader()
	list := [][]byte{}
	for _, e := range elements(&r, limit) {
		list = append(list, e.Raw)
	}
	return list, r.Err()
}

func appendRaws(dst []byte, tag tlv.Tag, list [][]byte) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		for _, raw := range list {
			dst = append(dst, raw...)
		}
		return dst
	})
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
