package iot

import (
	"encoding/base64"
	"fmt"
	"strings"

	"godwit/pki"
	"godwit/tlv"
)

// Protocols is a set of the ways by which an eIM is reached.
type Protocols uint64

// Ways, by their bit. SGP.32 v1.2, 2.11.1.1.
const (
	RetrieveHTTPS Protocols = 1 << iota
	RetrieveCoAPs
	InjectHTTPS
	InjectCoAPs
	ProprietaryProtocol
)

// Kinds of eIM identifiers.
const (
	EimIDOID         int64 = 1
	EimIDFQDN        int64 = 2
	EimIDProprietary int64 = 3
)

// An EimConfiguration is what an eUICC knows of an eIM: EimConfigurationData.
// SGP.32 v1.2, 2.11.1.1. Of the two forms of a key at most one is set.
type EimConfiguration struct {
	ID             string
	FQDN           string    // empty when absent
	IDType         int64     // [EimIDOID] and so on, 0 when absent
	Counter        *int64    // where the eIM's counter begins
	Token          *int64    // association token; -1 asks the eUICC to make one
	PublicKey      []byte    // of the signatures: SubjectPublicKeyInfo, DER
	Certificate    []byte    // of the signatures, DER
	TLSPublicKey   []byte    // SubjectPublicKeyInfo, DER
	TLSCertificate []byte    // the server's or its CA's, DER
	Protocols      Protocols // left out when it is 0
	CI             []byte    // key identifier of the CI under which the eUICC signs for this eIM
	Indirect       bool      // profiles are downloaded through the eIM
}

// AskToken is the token with which an eIM asks the eUICC to make one.
const AskToken = -1

// Key returns the key that verifies the eIM's packages, nil when the
// configuration has none.
func (c *EimConfiguration) Key() (*pki.PublicKey, error) {
	switch {
	case c.PublicKey != nil:
		return pki.ParsePublicKeyInfo(c.PublicKey)
	case c.Certificate != nil:
		certificate, err := pki.ParseCertificate(c.Certificate)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return nil, nil
}

// Append appends the configuration as a SEQUENCE, the form of BF55, BF57 and of
// files.
func (c *EimConfiguration) Append(dst []byte) []byte { return c.append(dst, tlv.Sequence) }

func (c *EimConfiguration) append(dst []byte, tag tlv.Tag) []byte {
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte {
		dst = tlv.AppendString(dst, 0x80, c.ID)
		if c.FQDN != "" {
			dst = tlv.AppendString(dst, 0x81, c.FQDN)
		}
		if c.IDType != 0 {
			dst = tlv.AppendInt(dst, 0x82, c.IDType)
		}
		dst = appendOptionalInt(dst, 0x83, c.Counter)
		dst = appendOptionalInt(dst, 0x84, c.Token)
		dst = appendKey(dst, 0xA5, c.PublicKey, c.Certificate)
		dst = appendKey(dst, 0xA6, c.TLSPublicKey, c.TLSCertificate)
		if c.Protocols != 0 {
			dst = tlv.AppendBits(dst, 0x87, uint64(c.Protocols))
		}
		if c.CI != nil {
			dst = tlv.Append(dst, 0x88, c.CI)
		}
		if c.Indirect {
			dst = tlv.Append(dst, 0x89, nil)
		}
		return dst
	})
}

// appendKey appends A0 with a key or A1 with a certificate, each whole with its
// outer SEQUENCE. The module's tags would have them without; chips and servers
// in the field insist on the SEQUENCE.
func appendKey(dst []byte, tag tlv.Tag, key, certificate []byte) []byte {
	arm, content := tlv.Tag(0xA0), key
	if key == nil {
		arm, content = 0xA1, certificate
	}
	if content == nil {
		return dst
	}
	return tlv.AppendNested(dst, tag, func(dst []byte) []byte { return tlv.Append(dst, arm, content) })
}

// readKey reads either nesting.
func readKey(e tlv.Element) (key, certificate []byte, err error) {
	arm, err := tlv.Parse(e.Value)
	if err != nil {
		return nil, nil, err
	}
	whole, err := wholeSequence(arm)
	if err != nil {
		return nil, nil, err
	}
	switch arm.Tag {
	case 0xA0:
		return whole, nil, nil
	case 0xA1:
		return nil, whole, nil
	}
	return nil, nil, fmt.Errorf("%w: key or certificate, have %s", tlv.ErrMissing, arm.Tag)
}

// wholeSequence returns the SEQUENCE that an implicitly tagged element stands
// for, whether the peer left its header out, as the module says, or not.
func wholeSequence(e tlv.Element) ([]byte, error) {
	inner, rest, err := tlv.Next(e.Value)
	if err != nil {
		return nil, err
	}
	if inner.Tag == tlv.Sequence && len(rest) == 0 {
		return inner.Raw, nil
	}
	return tlv.Append(nil, tlv.Sequence, e.Value), nil
}

// ParseEimConfiguration reads a configuration in its SEQUENCE.
func ParseEimConfiguration(der []byte) (*EimConfiguration, error) {
	e, err := tlv.ParseTag(der, tlv.Sequence)
	if err != nil {
		return nil, fmt.Errorf("read eIM configuration: %w", err)
	}
	return readEimConfiguration(e)
}

// ReadEimConfiguration reads the configuration of an eIM as files carry it:
// EimConfigurationData in DER, or that in base64 with blanks and line breaks.
func ReadEimConfiguration(content []byte) (*EimConfiguration, error) {
	if der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(content)), "")); err == nil {
		content = der
	}
	return ParseEimConfiguration(content)
}

// readEimConfiguration reads the fields inside of e, whatever its tag: addEim and
// updateEim replace the SEQUENCE by their own. Peers that keep it inside are
// understood.
func readEimConfiguration(e tlv.Element) (*EimConfiguration, error) {
	r := e.Reader()
	if r.Peek() == tlv.Sequence {
		r = r.Sub(tlv.Sequence)
	}
	c := &EimConfiguration{ID: eimID(&r)}
	for !r.Empty() {
		e := r.Next()
		if r.Err() != nil {
			break
		}
		if err := c.read(e); err != nil {
			return nil, fmt.Errorf("read eIM configuration: field %s: %w", e.Tag, err)
		}
	}
	return c, wrap("read eIM configuration", r.Err())
}

func (c *EimConfiguration) read(e tlv.Element) (err error) {
	number := func() *int64 {
		var n int64
		n, err = tlv.DecodeInt(e.Value)
		return &n
	}
	switch e.Tag {
	case 0x81:
		c.FQDN = string(e.Value)
	case 0x82:
		c.IDType = *number()
	case 0x83:
		c.Counter = number()
	case 0x84:
		c.Token = number()
	case 0xA5:
		c.PublicKey, c.Certificate, err = readKey(e)
	case 0xA6:
		c.TLSPublicKey, c.TLSCertificate, err = readKey(e)
	case 0x87:
		var set uint64
		set, err = tlv.Bits(e.Value)
		c.Protocols = Protocols(set)
	case 0x88:
		c.CI = e.Value
	case 0x89:
		c.Indirect = true
	}
	return err
}

// An EimInfo names an associated eIM in the answer to listEim.
type EimInfo struct {
	ID   string
	Type int64 // [EimIDOID] or [EimIDFQDN], 0 when absent
}

func (i *EimInfo) append(dst []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(dst []byte) []byte {
		dst = tlv.AppendString(dst, 0x80, i.ID)
		if i.Type != 0 {
			dst = tlv.AppendInt(dst, 0x82, i.Type)
		}
		return dst
	})
}

func readEimInfos(e tlv.Element) ([]EimInfo, error) {
	list := []EimInfo{}
	r := e.Reader()
	for _, e := range elements(&r, MaxEims) {
		inner := e.Reader()
		info := EimInfo{ID: eimID(&inner)}
		if n := optionalInt(&inner, 0x82); n != nil {
			info.Type = *n
		}
		if err := inner.Err(); err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, r.Err()
}
