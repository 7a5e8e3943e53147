package rsp

import (
	"fmt"

	"godwit/ident"
	"godwit/tlv"
)

// Tags of the ES10 functions that have no file of their own. Request and answer
// share a tag.
const (
	TagConfiguredAddresses   tlv.Tag = 0xBF3C
	TagSetDefaultDPAddress   tlv.Tag = 0xBF3F
	TagGetEUICCChallenge     tlv.Tag = 0xBF2E
	TagListNotification      tlv.Tag = 0xBF28
	TagRetrieveNotifications tlv.Tag = 0xBF2B
	TagRemoveNotification    tlv.Tag = 0xBF30
	TagLoadCRL               tlv.Tag = 0xBF35
	TagGetRAT                tlv.Tag = 0xBF43
	TagGetProfilesInfo       tlv.Tag = 0xBF2D
	TagEnableProfile         tlv.Tag = 0xBF31
	TagDisableProfile        tlv.Tag = 0xBF32
	TagDeleteProfile         tlv.Tag = 0xBF33
	TagMemoryReset           tlv.Tag = 0xBF34
	TagGetEUICCData          tlv.Tag = 0xBF3E
	TagSetNickname           tlv.Tag = 0xBF29
	TagProfileInfo           tlv.Tag = 0xE3
	TagISDRTemplate          tlv.Tag = 0xE0
)

// Results of ES10 functions that answer with a number. What a number above 0
// means depends on the function.
const (
	ResultOK              int64 = 0
	ResultNotFound        int64 = 1 // no such profile, notification, or nothing to delete
	ResultWrongState      int64 = 2
	ResultPolicy          int64 = 3
	ResultWrongReenabling int64 = 4
	ResultCATBusy         int64 = 5
	ResultUndefined       int64 = 127
)

// AppendResult appends an answer that is one number.
func AppendResult(dst []byte, tag tlv.Tag, result int64) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte { return tlv.AppendInt(dst, 0x80, result) })
}

// ParseResult reads an answer that is one number.
func ParseResult(der []byte, tag tlv.Tag) (int64, error) {
	e, err := tlv.ParseTag(der, tag)
	if err != nil {
		return 0, err
	}
	r := e.Reader()
	number := tlv.Tag(0x80)
	if r.Peek() == tlv.Integer { // from peers that do not tag it
		number = tlv.Integer
	}
	n := r.Int(number)
	return n, wrap("read answer "+tag.String(), r.Err())
}

// AppendEmpty appends a request without content: the two EUICCInfo, the
// challenge, the addresses, the RAT.
func AppendEmpty(dst []byte, tag tlv.Tag) []byte { return tlv.Append(dst, tag, nil) }

// AppendChallenge appends the answer to GetEUICCChallenge.
func AppendChallenge(dst, challenge []byte) []byte {
	return tlv.AppendNested(dst, TagGetEUICCChallenge, func(dst []byte) []byte {
		return tlv.Append(dst, 0x80, challenge)
	})
}

// ParseChallenge reads the answer to GetEUICCChallenge.
func ParseChallenge(der []byte) ([]byte, error) {
	e, err := tlv.ParseTag(der, TagGetEUICCChallenge)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	c := r.Fixed(0x80, ChallengeSize)
	return c, wrap("read eUICC challenge", r.Err())
}

// ConfiguredAddresses is where an eUICC looks for profiles by itself.
type ConfiguredAddresses struct {
	DefaultDP string // empty when none is set
	RootDS    string
}

// Append appends the answer to GetEuiccConfiguredAddresses.
func (a *ConfiguredAddresses) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagConfiguredAddresses, func(dst []byte) []byte {
		if a.DefaultDP != "" {
			dst = tlv.AppendString(dst, 0x80, a.DefaultDP)
		}
		return tlv.AppendString(dst, 0x81, a.RootDS)
	})
}

// ParseConfiguredAddresses reads the answer to GetEuiccConfiguredAddresses.
func ParseConfiguredAddresses(der []byte) (*ConfiguredAddresses, error) {
	e, err := tlv.ParseTag(der, TagConfiguredAddresses)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	a := &ConfiguredAddresses{DefaultDP: string(r.OptionalValue(0x80)), RootDS: string(r.OptionalValue(0x81))}
	return a, wrap("read configured addresses", r.Err())
}

// AppendSetDefaultDPAddress appends the request; an empty address clears.
func AppendSetDefaultDPAddress(dst []byte, address string) []byte {
	return tlv.AppendNested(dst, TagSetDefaultDPAddress, func(dst []byte) []byte {
		return tlv.AppendString(dst, 0x80, address)
	})
}

// ParseSetDefaultDPAddress reads the request.
func ParseSetDefaultDPAddress(der []byte) (string, error) {
	e, err := tlv.ParseTag(der, TagSetDefaultDPAddress)
	if err != nil {
		return "", err
	}
	r := e.Reader()
	address := r.Value(0x80)
	return string(address), wrap("read SetDefaultDpAddressRequest", r.Err())
}

// AppendGetEID appends the request for the EID.
func AppendGetEID(dst []byte) []byte {
	return append(dst, 0xBF, 0x3E, 0x03, 0x5C, 0x01, 0x5A)
}

// AppendEID appends its answer.
func AppendEID(dst []byte, eid ident.EID) []byte {
	return tlv.AppendNested(dst, TagGetEUICCData, func(dst []byte) []byte {
		return tlv.Append(dst, 0x5A, eid.Octets())
	})
}

// ParseEID reads the answer.
func ParseEID(der []byte) (ident.EID, error) {
	e, err := tlv.ParseTag(der, TagGetEUICCData)
	if err != nil {
		return "", err
	}
	r := e.Reader()
	octets := r.Fixed(0x5A, 16)
	if err := r.Err(); err != nil {
		return "", fmt.Errorf("read EID: %w", err)
	}
	return ident.EIDFromOctets(octets)
}

// A NotificationFilter picks notifications: by number, by event, or all when it
// is zero.
type NotificationFilter struct {
	Sequence *int64
	Events   Event
}

// Matches reports whether the filter picks n.
func (f *NotificationFilter) Matches(n *NotificationMetadata) bool {
	if f.Sequence != nil {
		return n.Sequence == *f.Sequence
	}
	return f.Events == 0 || f.Events&n.Event != 0
}

// AppendListNotification appends the request for metadata of notifications; no
// event means all.
func AppendListNotification(dst []byte, events Event) []byte {
	return tlv.AppendNested(dst, TagListNotification, func(dst []byte) []byte {
		if events == 0 {
			return dst
		}
		return tlv.AppendBits(dst, 0x81, uint64(events))
	})
}

// ParseListNotification reads the request.
func ParseListNotification(der []byte) (Event, error) {
	e, err := tlv.ParseTag(der, TagListNotification)
	if err != nil {
		return 0, err
	}
	r := e.Reader()
	events, ok := r.Optional(0x81)
	if err := r.Err(); err != nil || !ok {
		return 0, wrap("read ListNotificationRequest", err)
	}
	set, err := tlv.Bits(events.Value)
	return Event(set), wrap("read ListNotificationRequest", err)
}

// AppendNotificationList appends the answer to ListNotification.
func AppendNotificationList(dst []byte, notifications []NotificationMetadata) []byte {
	return tlv.AppendNested(dst, TagListNotification, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for i := range notifications {
				dst = notifications[i].Append(dst)
			}
			return dst
		})
	})
}

// ParseNotificationList reads the answer. The error is a [*ListError] when the
// eUICC refused.
func ParseNotificationList(der []byte) ([]NotificationMetadata, error) {
	r, err := list(der, TagListNotification)
	if err != nil {
		return nil, err
	}
	out := []NotificationMetadata{}
	for len(r.Rest()) > 0 {
		e := r.Element(TagNotificationMetadata)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read notification list: %w", err)
		}
		n, err := notificationMetadata(e)
		if err != nil {
			return nil, err
		}
		out = append(out, *n)
	}
	return out, nil
}

// AppendRetrieveNotifications appends the request for notifications as they are
// to be sent.
func AppendRetrieveNotifications(dst []byte, f NotificationFilter) []byte {
	return tlv.AppendNested(dst, TagRetrieveNotifications, func(dst []byte) []byte {
		if f.Sequence == nil && f.Events == 0 {
			return dst
		}
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			if f.Sequence != nil {
				return tlv.AppendInt(dst, 0x80, *f.Sequence)
			}
			return tlv.AppendBits(dst, 0x81, uint64(f.Events))
		})
	})
}

// ParseRetrieveNotifications reads the request.
func ParseRetrieveNotifications(der []byte) (NotificationFilter, error) {
	var f NotificationFilter
	e, err := tlv.ParseTag(der, TagRetrieveNotifications)
	if err != nil {
		return f, err
	}
	r := e.Reader()
	criteria, ok := r.Optional(0xA0)
	if err := r.Err(); err != nil || !ok {
		return f, wrap("read RetrieveNotificationsListRequest", err)
	}
	arm, err := tlv.Parse(criteria.Value)
	if err == nil {
		switch arm.Tag {
		case 0x80:
			var n int64
			n, err = tlv.DecodeInt(arm.Value)
			f.Sequence = &n
		case 0x81:
			var set uint64
			set, err = tlv.Bits(arm.Value)
			f.Events = Event(set)
		default:
			err = fmt.Errorf("%w: search criterion, have %s", tlv.ErrMissing, arm.Tag)
		}
	}
	return f, wrap("read RetrieveNotificationsListRequest", err)
}

// AppendNotifications appends the answer made of notifications as they were
// signed.
func AppendNotifications(dst []byte, raw [][]byte) []byte {
	return tlv.AppendNested(dst, TagRetrieveNotifications, func(dst []byte) []byte {
		return tlv.AppendNested(dst, 0xA0, func(dst []byte) []byte {
			for _, n := range raw {
				dst = append(dst, n...)
			}
			return dst
		})
	})
}

// ParseNotifications reads the answer. The error is a [*ListError] when the
// eUICC refused.
func ParseNotifications(der []byte) ([]PendingNotification, error) {
	r, err := list(der, TagRetrieveNotifications)
	if err != nil {
		return nil, err
	}
	out := []PendingNotification{}
	for len(r.Rest()) > 0 {
		e := r.Next()
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("read notifications: %w", err)
		}
		n, err := readPendingNotification(e)
		if err != nil {
			return nil, err
		}
		out = append(out, *n)
	}
	return out, nil
}

// AppendRemoveNotification appends the request to forget one notification.
func AppendRemoveNotification(dst []byte, sequence int64) []byte {
	return AppendResult(dst, TagRemoveNotification, sequence)
}

// ParseRemoveNotification reads the request.
func ParseRemoveNotification(der []byte) (int64, error) {
	return ParseResult(der, TagRemoveNotification)
}

// ISDRTemplate is what an ISD-R says of itself when it is selected.
type ISDRTemplate struct {
	SVN  Version
	LPAe uint64 // bits: card application toolkit, web server; 0 when absent
}

// Append appends the element E0.
func (t *ISDRTemplate) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagISDRTemplate, func(dst []byte) []byte {
		dst = tlv.Append(dst, 0x82, t.SVN[:])
		if t.LPAe != 0 {
			dst = tlv.AppendBits(dst, tlv.BitString, t.LPAe)
		}
		return dst
	})
}
