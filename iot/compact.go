package iot

import (
	"bytes"
	"fmt"

	"godwit/ident"
	"godwit/rsp"
	"godwit/tlv"
)

// The compact forms: an IPA that minimises bytes leaves out what the eIM has
// already, and the eIM puts the octets together again that the eUICC signed.
// Messages that are whole pass through unchanged. Whether everything was put back
// right is shown by the signature, which the SM-DP+ checks. SGP.32 v1.2, 5.14.

const armCompact tlv.Tag = 0xA2

// compactArm returns the compact arm of a message, or false when it is whole.
func compactArm(der []byte, tag tlv.Tag) (tlv.Element, bool, error) {
	arm, err := tlv.ParseChoice(der, tag)
	return arm, err == nil && arm.Tag == armCompact, err
}

// whole puts the arm A0 of a message together.
func whole(tag tlv.Tag, signed, signature []byte, more ...[]byte) []byte {
	return tlv.AppendNested(nil, tag, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			dst = rsp.AppendSignature(append(dst, signed...), signature)
			for _, m := range more {
				dst = append(dst, m...)
			}
			return dst
		})
	})
}

// AuthenticateParts is what an eIM has of a run before AuthenticateClient.
type AuthenticateParts struct {
	ServerSigned1    []byte // as it went to the IPA
	EUICCInfo2       []byte // BF22 as the eUICC gave it before
	Context          []byte // ctxParams1, when the eIM made it
	EUICCCertificate []byte // DER
	EUMCertificate   []byte // DER
}

// ExpandAuthenticate returns the whole AuthenticateServerResponse, BF38.
func ExpandAuthenticate(der []byte, kept AuthenticateParts) ([]byte, error) {
	arm, compact, err := compactArm(der, rsp.TagAuthenticateServer)
	if err != nil || !compact {
		return der, wrap("read AuthenticateServerResponse", err)
	}
	r := arm.Reader()
	signed := r.Next()
	signature := r.Fixed(rsp.TagSignature, rsp.SignatureSize)
	certificate := func(tag tlv.Tag, have []byte) []byte {
		e, ok := r.Optional(tag)
		if !ok {
			if have == nil {
				r.Fail(fmt.Errorf("%w: certificate %s, and none is kept", tlv.ErrMissing, tag))
			}
			return have
		}
		der, err := wholeSequence(e)
		r.Fail(err)
		return der
	}
	euicc := certificate(0xA1, kept.EUICCCertificate)
	eum := certificate(0xA2, kept.EUMCertificate)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read compact AuthenticateServerResponse: %w", err)
	}
	raw := signed.Raw
	if signed.Tag == 0xA0 {
		if raw, err = expandSigned1(signed, kept); err != nil {
			return nil, fmt.Errorf("read compact AuthenticateServerResponse: %w", err)
		}
	}
	return whole(rsp.TagAuthenticateServer, raw, signature, euicc, eum), nil
}

// expandSigned1 puts euiccSigned1 together.
func expandSigned1(e tlv.Element, kept AuthenticateParts) ([]byte, error) {
	r := e.Reader()
	resource := r.Value(0x84)
	context := r.OptionalValue(0xA2)
	if err := r.Err(); err != nil {
		return nil, err
	}
	if context == nil {
		context = kept.Context
	}
	if context == nil {
		return nil, fmt.Errorf("%w: ctxParams1, and none is kept", tlv.ErrMissing)
	}
	server, err := rsp.ReadServerSigned1(kept.ServerSigned1)
	if err != nil {
		return nil, err
	}
	info, err := replaceResource(kept.EUICCInfo2, resource)
	if err != nil {
		return nil, err
	}
	return rsp.AppendEUICCSigned1(nil, server, info, context), nil
}

// replaceResource returns EUICCInfo2 with another extCardResource, the one field
// that changes from run to run.
func replaceResource(info2, resource []byte) ([]byte, error) {
	e, err := tlv.ParseTag(info2, rsp.TagEUICCInfo2)
	if err != nil {
		return nil, fmt.Errorf("the EUICCInfo2 that is kept: %w", err)
	}
	var out []byte
	r := e.Reader()
	for !r.Empty() {
		if e := r.Next(); e.Tag == 0x84 {
			out = tlv.Append(out, 0x84, resource)
		} else {
			out = append(out, e.Raw...)
		}
	}
	return tlv.Append(nil, rsp.TagEUICCInfo2, out), r.Err()
}

// CompactAuthenticate is the way back, for the IPA: context and certificates are
// left out where the eIM has them.
func CompactAuthenticate(der []byte, eimHasContext, eimHasCertificates bool) ([]byte, error) {
	arm, err := tlv.ParseChoice(der, rsp.TagAuthenticateServer)
	if err != nil || arm.Tag != 0xA0 {
		return der, wrap("read AuthenticateServerResponse", err)
	}
	r := arm.Reader()
	signed, signature := r.Sub(tlv.Sequence), r.Fixed(rsp.TagSignature, rsp.SignatureSize)
	euicc, eum := r.Element(tlv.Sequence), r.Element(tlv.Sequence)
	signed.Element(0x80)
	signed.Element(0x83)
	signed.Element(0x84)
	info := signed.Sub(rsp.TagEUICCInfo2)
	context := signed.Next()
	info.SkipTo(0x84)
	resource := info.Value(0x84)
	for _, r := range []*tlv.Reader{&r, &signed, &info} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read AuthenticateServerResponse: %w", err)
		}
	}
	return tlv.AppendNested(nil, rsp.TagAuthenticateServer, func(dst []byte) []byte {
		return tlv.AppendNested(dst, armCompact, func(dst []byte) []byte {
			dst = tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
				dst = tlv.Append(dst, 0x84, resource)
				if !eimHasContext {
					dst = tlv.Append(dst, 0xA2, context.Raw)
				}
				return dst
			})
			dst = rsp.AppendSignature(dst, signature)
			if !eimHasCertificates {
				dst = tlv.Append(tlv.Append(dst, 0xA1, euicc.Value), 0xA2, eum.Value)
			}
			return dst
		})
	}), nil
}

// PrepareParts is what an eIM has of a run before GetBoundProfilePackage.
type PrepareParts struct {
	TransactionID rsp.TransactionID
	OneTimeKey    []byte // bppEuiccOtpk of smdpSigned2, or nil
	HashedCode    []byte // hashCc that the eIM gave the IPA, or nil
}

// ExpandPrepare returns the whole PrepareDownloadResponse, BF21.
func ExpandPrepare(der []byte, kept PrepareParts) ([]byte, error) {
	arm, compact, err := compactArm(der, rsp.TagPrepareDownload)
	if err != nil || !compact {
		return der, wrap("read PrepareDownloadResponse", err)
	}
	r := arm.Reader()
	inner := r.Sub(tlv.Sequence)
	key, code := inner.OptionalValue(rsp.TagOneTimeKey), inner.OptionalValue(tlv.OctetString)
	signature := r.Fixed(rsp.TagSignature, rsp.SignatureSize)
	if key == nil {
		key = kept.OneTimeKey
	}
	if code == nil {
		code = kept.HashedCode
	}
	for _, r := range []*tlv.Reader{&r, &inner} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read compact PrepareDownloadResponse: %w", err)
		}
	}
	if key == nil {
		return nil, fmt.Errorf("read compact PrepareDownloadResponse: %w: euiccOtpk, and none is kept", tlv.ErrMissing)
	}
	return whole(rsp.TagPrepareDownload, rsp.AppendEUICCSigned2(nil, kept.TransactionID, key, code), signature), nil
}

// CompactPrepare is the way back, for the IPA.
func CompactPrepare(der []byte, eimHasCode bool) ([]byte, error) {
	arm, err := tlv.ParseChoice(der, rsp.TagPrepareDownload)
	if err != nil || arm.Tag != 0xA0 {
		return der, wrap("read PrepareDownloadResponse", err)
	}
	r := arm.Reader()
	signed, signature := r.Sub(tlv.Sequence), r.Fixed(rsp.TagSignature, rsp.SignatureSize)
	signed.Element(0x80)
	key := signed.Element(rsp.TagOneTimeKey)
	code, _ := signed.Optional(tlv.OctetString)
	for _, r := range []*tlv.Reader{&r, &signed} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read PrepareDownloadResponse: %w", err)
		}
	}
	return tlv.AppendNested(nil, rsp.TagPrepareDownload, func(dst []byte) []byte {
		return tlv.AppendNested(dst, armCompact, func(dst []byte) []byte {
			dst = tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
				dst = append(dst, key.Raw...)
				if !eimHasCode {
					dst = append(dst, code.Raw...)
				}
				return dst
			})
			return rsp.AppendSignature(dst, signature)
		})
	}), nil
}

// CancelParts is what an eIM has of a run that is given up.
type CancelParts struct {
	TransactionID rsp.TransactionID
	OID           ident.OID        // of the SM-DP+, from its DPauth certificate
	Reason        rsp.CancelReason // where the IPA leaves it out
}

// ExpandCancel returns the whole CancelSessionResponse, BF41.
func ExpandCancel(der []byte, kept CancelParts) ([]byte, error) {
	arm, compact, err := compactArm(der, rsp.TagCancelSession)
	if err != nil || !compact {
		return der, wrap("read CancelSessionResponse", err)
	}
	r := arm.Reader()
	inner := r.Sub(tlv.Sequence)
	reason := kept.Reason
	if n := optionalInt(&inner, 0x80); n != nil {
		reason = rsp.CancelReason(*n)
	}
	signature := r.Fixed(rsp.TagSignature, rsp.SignatureSize)
	for _, r := range []*tlv.Reader{&r, &inner} {
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read compact CancelSessionResponse: %w", err)
		}
	}
	signed := rsp.AppendCancelSessionSigned(nil, kept.TransactionID, kept.OID, reason)
	return whole(rsp.TagCancelSession, signed, signature), nil
}

// NotificationParts is what an eIM has for notifications.
type NotificationParts struct {
	Address string      // of the SM-DP+ of the download, for installation results
	OID     ident.OID   // of the SM-DP+, from its DPauth certificate
	ICCID   ident.ICCID // of the profile, from its metadata

	EUICCCertificate []byte // DER
	EUMCertificate   []byte // DER
}

// simaSuccess is the result of a profile package interpreter that succeeded, which
// compact forms leave out.
var simaSuccess = []byte{0x30, 0x07, 0xA0, 0x05, 0x30, 0x03, 0x80, 0x01, 0x00}

// ExpandNotification returns the whole notification: BF37 or 30.
func ExpandNotification(der []byte, kept NotificationParts) ([]byte, error) {
	e, err := tlv.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("read notification: %w", err)
	}
	r := e.Reader()
	switch e.Tag {
	case 0xA0:
		data := r.Sub(0xA0)
		signature := r.Fixed(rsp.TagSignature, rsp.SignatureSize)
		result, err := expandInstallation(&data, kept)
		r.Fail(err)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read compact notification: %w", err)
		}
		return tlv.AppendNested(nil, rsp.TagInstallationResult, func(dst []byte) []byte {
			return rsp.AppendSignature(append(dst, result...), signature)
		}), nil
	case 0xA1:
		r.Optional(rsp.TagICCID) // the EID: the eIM knows whom it talks to
		metadata := r.Element(rsp.TagNotificationMetadata)
		signature := r.Fixed(rsp.TagSignature, rsp.SignatureSize)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read compact notification: %w", err)
		}
		if kept.EUICCCertificate == nil || kept.EUMCertificate == nil {
			return nil, fmt.Errorf("read compact notification: %w: certificates, and none are kept", tlv.ErrMissing)
		}
		return tlv.AppendNested(nil, tlv.Sequence, func(dst []byte) []byte {
			dst = rsp.AppendSignature(append(dst, metadata.Raw...), signature)
			return append(append(dst, kept.EUICCCertificate...), kept.EUMCertificate...)
		}), nil
	}
	return der, nil
}

// CompactSequence returns the sequence number of a notification in compact form,
// and false when it has another form.
func CompactSequence(der []byte) (int64, bool) {
	e, err := tlv.Parse(der)
	if err != nil {
		return 0, false
	}
	r := e.Reader()
	switch e.Tag {
	case 0xA0:
		data := r.Sub(0xA0)
		data.Element(0x80)
		n := data.Int(tlv.Integer)
		return n, data.Err() == nil
	case 0xA1:
		r.Optional(rsp.TagICCID)
		metadata := r.Sub(rsp.TagNotificationMetadata)
		n := metadata.Int(0x80)
		return n, metadata.Err() == nil
	}
	return 0, false
}

// expandInstallation puts the signed part of an installation result together.
func expandInstallation(r *tlv.Reader, kept NotificationParts) ([]byte, error) {
	result := rsp.InstallationResult{
		TransactionID: requiredRunID(r), OID: kept.OID,
		Notification: rsp.NotificationMetadata{
			Sequence: r.Int(tlv.Integer), Event: rsp.EventInstall, Address: kept.Address, ICCID: kept.ICCID,
		},
	}
	if r.Peek() == tlv.Boolean && !r.Bool(tlv.Boolean) {
		result.Notification.ICCID = ""
	}
	final := r.Sub(0xA2)
	arm := final.Next()
	inner := arm.Reader()
	switch arm.Tag {
	case 0xA0:
		result.AID = rsp.ISDP(0)
		copy(result.AID[13:15], inner.Fixed(rsp.TagISDPAID, 2))
		if result.SIMAResponse = inner.OptionalValue(tlv.OctetString); result.SIMAResponse == nil {
			result.SIMAResponse = simaSuccess
		}
	case 0xA1:
		result.Command = rsp.BPPCommand(inner.Int(0x80))
		result.Error = rsp.InstallError(inner.Int(0x81))
		result.SIMAResponse = inner.OptionalValue(0x82)
	default:
		final.Fail(fmt.Errorf("%w: final result, have %s", tlv.ErrMissing, arm.Tag))
	}
	for _, r := range []*tlv.Reader{r, &final, &inner} {
		if err := r.Err(); err != nil {
			return nil, err
		}
	}
	if arm.Tag == 0xA1 && result.Error == 0 {
		return nil, fmt.Errorf("%w: error reason 0", tlv.ErrValue)
	}
	return result.Append(nil), nil
}

// CompactNotification is the way back, for the IPA: of an installation result what
// the eIM can put together, of other notifications the certificates are left out.
// What has no compact form comes back as it is.
func CompactNotification(der []byte) ([]byte, error) {
	p, err := rsp.ParsePendingNotification(der)
	if err != nil {
		return nil, err
	}
	e, err := tlv.Parse(der)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	signed := r.Next()
	signature := r.Element(rsp.TagSignature)
	if !p.Installation {
		return tlv.AppendNested(nil, 0xA1, func(dst []byte) []byte {
			return append(append(dst, signed.Raw...), signature.Raw...)
		}), nil
	}
	result, err := rsp.ReadInstallation(p)
	if err != nil {
		return nil, err
	}
	prefix := rsp.ISDP(0)
	if result.Error == 0 && (len(result.AID) != 16 || !bytes.HasPrefix(result.AID, prefix[:13]) || result.AID[15] != 0) {
		return der, nil
	}
	return tlv.AppendNested(nil, 0xA0, func(dst []byte) []byte {
		dst = tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			dst = result.TransactionID.Append(dst, 0x80)
			dst = tlv.AppendInt(dst, tlv.Integer, result.Notification.Sequence)
			if result.Notification.ICCID == "" {
				dst = tlv.AppendBool(dst, tlv.Boolean, false)
			}
			return tlv.AppendNested(dst, 0xA2, func(dst []byte) []byte { return appendFinal(dst, result) })
		})
		return append(dst, signature.Raw...)
	}), nil
}

func appendFinal(dst []byte, result *rsp.InstallationResult) []byte {
	if result.Error == 0 {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			dst = tlv.Append(dst, rsp.TagISDPAID, result.AID[13:15])
			if !bytes.Equal(result.SIMAResponse, simaSuccess) {
				dst = tlv.Append(dst, tlv.OctetString, result.SIMAResponse)
			}
			return dst
		})
	}
	return tlv.AppendNested(dst, 0xA1, func(dst []byte) []byte {
		dst = tlv.AppendInt(dst, 0x80, int64(result.Command))
		dst = tlv.AppendInt(dst, 0x81, int64(result.Error))
		if result.SIMAResponse != nil {
			dst = tlv.Append(dst, 0x82, result.SIMAResponse)
		}
		return dst
	})
}
