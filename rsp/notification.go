package rsp

import (
	"crypto"
	"fmt"

	"godwit/ident"
	"godwit/pki"
	"godwit/tlv"
)

// Tags of notifications.
const (
	TagInstallationResult     tlv.Tag = 0xBF37
	TagInstallationResultData tlv.Tag = 0xBF27
	TagNotificationMetadata   tlv.Tag = 0xBF2F
)

// NotificationMetadata says what a notification is about and where it goes.
type NotificationMetadata struct {
	Sequence int64 // grows for the life of the eUICC
	Event    Event
	Address  string
	ICCID    ident.ICCID // empty when absent or unreadable
}

// Append appends the structure.
func (n *NotificationMetadata) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagNotificationMetadata, func(dst []byte) []byte {
		dst = tlv.AppendInt(dst, 0x80, n.Sequence)
		dst = tlv.AppendBits(dst, 0x81, uint64(n.Event))
		dst = tlv.AppendString(dst, tlv.UTF8String, n.Address)
		if n.ICCID != "" {
			dst = tlv.Append(dst, TagICCID, n.ICCID.Octets())
		}
		return dst
	})
}

func notificationMetadata(e tlv.Element) (*NotificationMetadata, error) {
	r := e.Reader()
	n := &NotificationMetadata{Sequence: r.Int(0x80)}
	bits := r.Value(0x81)
	n.Address = string(r.Value(tlv.UTF8String))
	iccid := r.OptionalValue(TagICCID)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read notification metadata: %w", err)
	}
	set, err := tlv.Bits(bits)
	if err != nil {
		return nil, fmt.Errorf("read notification metadata: %w", err)
	}
	n.Event = Event(set)
	if iccid != nil {
		// A number that is none must not keep the notification from its server.
		n.ICCID, _ = ident.ICCIDFromOctets(iccid)
	}
	return n, nil
}

// A BPPCommand is the part of a bound profile package that an eUICC was at.
type BPPCommand int64

// Commands of SGP.22 v2.5, 2.5.6.
const (
	CommandInitialise   BPPCommand = 0
	CommandConfigure    BPPCommand = 1
	CommandMetadata     BPPCommand = 2
	CommandMetadata2    BPPCommand = 3
	CommandReplaceKeys  BPPCommand = 4
	CommandLoadElements BPPCommand = 5
)

// An InstallError is why an eUICC did not install a profile.
type InstallError int64

// Reasons of SGP.22 v2.5, 2.5.6.
const (
	InstallIncorrectInput       InstallError = 1
	InstallInvalidSignature     InstallError = 2
	InstallInvalidTransactionID InstallError = 3
	InstallUnsupportedCRT       InstallError = 4
	InstallUnsupportedOperation InstallError = 5
	InstallUnsupportedClass     InstallError = 6
	InstallStructure            InstallError = 7
	InstallSecurity             InstallError = 8
	InstallICCIDExists          InstallError = 9
	InstallMemory               InstallError = 10
	InstallInterrupted          InstallError = 11
	InstallElement              InstallError = 12
	InstallDataMismatch         InstallError = 13
	InstallInvalidTestKey       InstallError = 14
	InstallPPRNotAllowed        InstallError = 15
	InstallUnknown              InstallError = 127
)

// Status maps the reason to the status code in progress information. SGP.22
// leaves the mapping to the parties.
func (e InstallError) Status() StatusCode {
	switch e {
	case InstallICCIDExists:
		return ICCIDInUse
	case InstallMemory:
		return MemoryInsufficient
	case InstallPPRNotAllowed:
		return PPRRefused
	case InstallDataMismatch:
		return MetadataDiffers
	case InstallInvalidSignature, InstallInvalidTransactionID, InstallUnsupportedCRT, InstallUnsupportedOperation,
		InstallStructure, InstallSecurity, InstallElement:
		return PackageFailed
	}
	return EUICCFailed
}

// Status maps the reason to the status code in progress information.
func (c CancelReason) Status() StatusCode {
	switch c {
	case CancelUserRejection:
		return UserRejected
	case CancelPPRNotAllowed:
		return PPRRefused
	case CancelMetadataMismatch:
		return MetadataDiffers
	case CancelLoadError:
		return PackageFailed
	}
	return EUICCFailed
}

// An InstallationResult is the eUICC's word on a download: the content of a
// profile installation result. One that came from outside was verified:
// the only way to it is [PendingNotification.VerifyInstallation].
type InstallationResult struct {
	TransactionID TransactionID
	Notification  NotificationMetadata
	OID           ident.OID    // of the SM-DP+
	AID           []byte       // of the ISD-P, when installed
	Command       BPPCommand   // when it failed
	Error         InstallError // 0 when installed
	SIMAResponse  []byte       // EUICCResponse of the profile package interpreter, nil when absent
}

// Append appends the structure that an eUICC signs.
func (p *InstallationResult) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagInstallationResultData, func(dst []byte) []byte {
		dst = p.TransactionID.Append(dst, 0x80)
		dst = p.Notification.Append(dst)
		dst = tlv.Append(dst, tlv.OID, p.OID.Octets())
		return tlv.AppendNested(dst, 0xA2, func(dst []byte) []byte {
			if p.Error == 0 {
				return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
					return tlv.Append(tlv.Append(dst, TagISDPAID, p.AID), tlv.OctetString, p.SIMAResponse)
				})
			}
			return tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
				dst = tlv.AppendInt(dst, 0x80, int64(p.Command))
				dst = tlv.AppendInt(dst, 0x81, int64(p.Error))
				if p.SIMAResponse != nil {
					dst = tlv.Append(dst, 0x82, p.SIMAResponse)
				}
				return dst
			})
		})
	})
}

// Sign returns the whole profile installation result.
func (p *InstallationResult) Sign(signer crypto.Signer) ([]byte, error) {
	data := p.Append(nil)
	signature, err := pki.Sign(signer, data)
	if err != nil {
		return nil, fmt.Errorf("sign profile installation result: %w", err)
	}
	return tlv.AppendNested(nil, TagInstallationResult, func(dst []byte) []byte {
		return AppendSignature(append(dst, data...), signature)
	}), nil
}

// ParseInstallationResultData reads the signed part of a profile installation
// result, BF27, without a verdict on any signature.
func ParseInstallationResultData(der []byte) (*InstallationResult, error) {
	e, err := tlv.ParseTag(der, TagInstallationResultData)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	p := &InstallationResult{TransactionID: transactionID(&r, 0x80)}
	metadata := r.Element(TagNotificationMetadata)
	oid := r.Value(tlv.OID)
	final := r.Sub(0xA2)
	arm := final.Next()
	if err := final.Err(); err != nil {
		return nil, fmt.Errorf("read profile installation result: %w", err)
	}
	n, err := notificationMetadata(metadata)
	if err != nil {
		return nil, fmt.Errorf("read profile installation result: %w", err)
	}
	p.Notification = *n
	if p.OID, err = ident.OIDFromOctets(oid); err != nil {
		return nil, fmt.Errorf("read profile installation result: %w", err)
	}
	r = arm.Reader()
	switch arm.Tag {
	case 0xA0:
		p.AID = r.Value(TagISDPAID)
		p.SIMAResponse = r.Value(tlv.OctetString)
	case 0xA1:
		p.Command = BPPCommand(r.Int(0x80))
		p.Error = InstallError(r.Int(0x81))
		p.SIMAResponse = r.OptionalValue(0x82)
		if p.Error == 0 {
			r.Fail(fmt.Errorf("%w: error reason 0", tlv.ErrValue))
		}
	default:
		r.Fail(fmt.Errorf("%w: final result, have %s", tlv.ErrMissing, arm.Tag))
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read profile installation result: %w", err)
	}
	return p, nil
}

// A PendingNotification is what an eUICC has to report to a server. The LPA
// passes it on; the server verifies.
type PendingNotification struct {
	Raw []byte // as it arrived

	// Claims: good for finding the run and the receiver, proved by Verify alone.
	Metadata      NotificationMetadata
	TransactionID TransactionID // of an installation result, zero otherwise
	Installation  bool

	// Of notifications other than an installation result: certificates, DER.
	EUICCCertificate []byte
	EUMCertificate   []byte

	signed, signature []byte
}

// ParsePendingNotification reads a notification.
func ParsePendingNotification(der []byte) (*PendingNotification, error) {
	e, err := tlv.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("read notification: %w", err)
	}
	return readPendingNotification(e)
}

func readPendingNotification(e tlv.Element) (*PendingNotification, error) {
	p := &PendingNotification{Raw: e.Raw}
	r := e.Reader()
	var metadata tlv.Element
	switch e.Tag {
	case TagInstallationResult:
		p.Installation = true
		data := r.Element(TagInstallationResultData)
		p.signed = data.Raw
		p.signature = r.Fixed(TagSignature, SignatureSize)
		inner := data.Reader()
		p.TransactionID = transactionID(&inner, 0x80)
		metadata = inner.Element(TagNotificationMetadata)
		r.Fail(inner.Err())
	case tlv.Sequence:
		metadata = r.Element(TagNotificationMetadata)
		p.signed = metadata.Raw
		p.signature = r.Fixed(TagSignature, SignatureSize)
		p.EUICCCertificate = r.Element(tlv.Sequence).Raw
		p.EUMCertificate = r.Element(tlv.Sequence).Raw
	default:
		r.Fail(fmt.Errorf("%w: have %s", tlv.ErrMissing, e.Tag))
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read notification: %w", err)
	}
	n, err := notificationMetadata(metadata)
	if err != nil {
		return nil, err
	}
	p.Metadata = *n
	return p, nil
}

// VerifyInstallation checks the eUICC's signature over a profile installation
// result, and then reads it.
func (p *PendingNotification) VerifyInstallation(key *pki.PublicKey) (*InstallationResult, error) {
	if !p.Installation {
		return nil, fmt.Errorf("%w: the notification is no profile installation result", tlv.ErrValue)
	}
	if !key.Verify(p.signed, p.signature) {
		return nil, fmt.Errorf("euiccSignPIR: %w", ErrSignature)
	}
	return ParseInstallationResultData(p.signed)
}

// ReadInstallation reads a profile installation result without a verdict on its
// signature. It is for the LPA, which got it from the eUICC itself.
func ReadInstallation(p *PendingNotification) (*InstallationResult, error) {
	if !p.Installation {
		return nil, fmt.Errorf("%w: the notification is no profile installation result", tlv.ErrValue)
	}
	return ParseInstallationResultData(p.signed)
}

// VerifyOther checks the eUICC's signature over any other notification, with the
// key of the certificate that came along and whose chain the caller has checked.
func (p *PendingNotification) VerifyOther(key *pki.PublicKey) (*NotificationMetadata, error) {
	if p.Installation {
		return nil, fmt.Errorf("%w: the notification is a profile installation result", tlv.ErrValue)
	}
	if !key.Verify(p.signed, p.signature) {
		return nil, fmt.Errorf("euiccNotificationSignature: %w", ErrSignature)
	}
	n := p.Metadata
	return &n, nil
}

// Sign returns the whole notification with the certificates of its signer.
func (n *NotificationMetadata) Sign(signer crypto.Signer, euiccCertificate, eumCertificate []byte) ([]byte, error) {
	data := n.Append(nil)
	signature, err := pki.Sign(signer, data)
	if err != nil {
		return nil, fmt.Errorf("sign notification: %w", err)
	}
	return tlv.AppendNested(nil, tlv.Sequence, func(dst []byte) []byte {
		dst = AppendSignature(append(dst, data...), signature)
		return append(append(dst, euiccCertificate...), eumCertificate...)
	}), nil
}
