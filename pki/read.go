package pki

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"godwit/ident"
	"godwit/tlv"
)

// oidECDSAWithSHA256 is the only signature algorithm of SGP.22 certificates.
const oidECDSAWithSHA256 = "\x2A\x86\x48\xCE\x3D\x04\x03\x02"

// Limits of what is read, far above what any certificate of the profile has.
const (
	maxExtensions = 32
	maxNames      = 128
)

// parseCertificate reads a certificate. RFC 5280, 4.1.
func parseCertificate(der []byte) (*Certificate, error) {
	if len(der) > MaxCertificate {
		return nil, fmt.Errorf("%w: %d octets, at most %d are read", ErrCertificate, len(der), MaxCertificate)
	}
	c := &Certificate{Raw: der, MaxPathLength: -1}
	signed, err := readSigned(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	c.TBS, c.Signature = signed.tbs.Raw, signed.signature
	if err := c.readTBS(signed.tbs.Reader()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return c, nil
}

// signedObject is the outer shape that certificates and revocation lists share.
type signedObject struct {
	tbs       tlv.Element
	signature []byte // r | s
}

func readSigned(der []byte) (signedObject, error) {
	r := tlv.NewReader(der)
	seq := r.Sub(tlv.Sequence)
	if err := r.Close(); err != nil {
		return signedObject{}, err
	}
	tbs := seq.Element(tlv.Sequence)
	readSignatureAlgorithm(&seq)
	bits := wholeOctets(&seq, seq.Value(tlv.BitString))
	if err := seq.Close(); err != nil {
		return signedObject{}, err
	}
	sig, err := RawSignature(bits)
	if err != nil {
		return signedObject{}, err
	}
	return signedObject{tbs: tbs, signature: sig}, nil
}

// readSignatureAlgorithm takes an AlgorithmIdentifier, which must be ECDSA with SHA-256.
func readSignatureAlgorithm(r *tlv.Reader) {
	algorithm := r.Sub(tlv.Sequence)
	if oid := algorithm.Value(tlv.OID); r.Err() == nil && string(oid) != oidECDSAWithSHA256 {
		r.Fail(fmt.Errorf("signature algorithm %x is not ECDSA with SHA-256", oid))
	}
}

// wholeOctets returns the octets of a BIT STRING that has no unused bits.
func wholeOctets(r *tlv.Reader, bits []byte) []byte {
	if r.Err() != nil {
		return nil
	}
	if len(bits) == 0 || bits[0] != 0 {
		r.Fail(fmt.Errorf("%w: bit string is not of whole octets", tlv.ErrValue))
		return nil
	}
	return bits[1:]
}

func (c *Certificate) readTBS(r tlv.Reader) error {
	if version, ok := r.Optional(tlv.ContextConstructed(0)); ok {
		v := version.Reader()
		if n := v.Int(tlv.Integer); v.Err() != nil || n != 2 {
			return fmt.Errorf("%w: certificate version is not 3", tlv.ErrValue)
		}
	} else if r.Err() == nil {
		return fmt.Errorf("%w: certificate version is not 3", tlv.ErrValue)
	}
	if c.Serial = r.Value(tlv.Integer); r.Err() == nil && (len(c.Serial) == 0 || len(c.Serial) > 21) {
		return fmt.Errorf("%w: serial number of %d octets", tlv.ErrValue, len(c.Serial))
	}
	readSignatureAlgorithm(&r)
	c.Issuer = readName(&r)
	validity := r.Sub(tlv.Sequence)
	c.NotBefore = readTime(&validity)
	c.NotAfter = readTime(&validity)
	r.Fail(validity.Close())
	c.Subject = readName(&r)
	c.readPublicKey(&r)
	r.Optional(tlv.Context(1)) // unique identifiers: allowed by X.509, used by nobody
	r.Optional(tlv.Context(2))
	if wrapped, ok := r.Optional(tlv.ContextConstructed(3)); ok {
		extensions := wrapped.Reader()
		if err := c.readExtensions(extensions.Sub(tlv.Sequence)); err != nil {
			return err
		}
		r.Fail(extensions.Close())
	}
	return r.Close()
}

func (c *Certificate) readPublicKey(r *tlv.Reader) {
	info := r.Sub(tlv.Sequence)
	algorithm := info.Sub(tlv.Sequence)
	oid, named := algorithm.Value(tlv.OID), algorithm.Value(tlv.OID)
	point := wholeOctets(&info, info.Value(tlv.BitString))
	r.Fail(info.Close())
	if r.Err() != nil {
		return
	}
	if string(oid) != oidECPublicKey || algorithm.Close() != nil {
		r.Fail(fmt.Errorf("%w: not a key of a named elliptic curve", ErrCurve))
		return
	}
	curve, err := curveOf(named)
	if err != nil {
		r.Fail(err)
		return
	}
	c.PublicKey, err = ParsePublicKey(curve, point)
	r.Fail(err)
}

// Attribute types of a name, as content octets. X.520.
const (
	attrCommonName         = "\x55\x04\x03"
	attrSerialNumber       = "\x55\x04\x05"
	attrCountry            = "\x55\x04\x06"
	attrOrganization       = "\x55\x04\x0A"
	attrOrganizationalUnit = "\x55\x04\x0B"
)

// readName takes a distinguished name. Of an attribute that occurs twice the
// last one counts, as in the standard library.
func readName(r *tlv.Reader) Name {
	e := r.Element(tlv.Sequence)
	name := Name{Raw: e.Raw}
	rdns := e.Reader()
	for n := 0; !rdns.Empty(); n++ {
		if n == maxNames {
			rdns.Fail(fmt.Errorf("%w: name of more than %d parts", tlv.ErrValue, maxNames))
		}
		set := rdns.Sub(tlv.Set)
		for !set.Empty() {
			attribute := set.Sub(tlv.Sequence)
			kind, value := attribute.Value(tlv.OID), attribute.Next()
			set.Fail(attribute.Close())
			field := name.field(kind)
			if field == nil || set.Err() != nil {
				continue
			}
			text, ok := directoryString(value)
			if !ok {
				set.Fail(fmt.Errorf("%w: text in a name", tlv.ErrValue))
			}
			*field = text
		}
		rdns.Fail(set.Err())
	}
	r.Fail(rdns.Err())
	return name
}

func (n *Name) field(kind []byte) *string {
	switch string(kind) {
	case attrCommonName:
		return &n.CommonName
	case attrSerialNumber:
		return &n.SerialNumber
	case attrCountry:
		return &n.Country
	case attrOrganization:
		return &n.Organization
	case attrOrganizationalUnit:
		return &n.OrganizationalUnit
	}
	return nil
}

// Tags of the string types of a directory string.
const (
	numericString   tlv.Tag = 0x12
	printableString tlv.Tag = 0x13
	teletexString   tlv.Tag = 0x14
	ia5String       tlv.Tag = 0x16
	bmpString       tlv.Tag = 0x1E
)

func directoryString(e tlv.Element) (string, bool) {
	switch e.Tag {
	case tlv.UTF8String, printableString, ia5String, numericString, teletexString:
		return string(e.Value), utf8.Valid(e.Value)
	case bmpString:
		if len(e.Value)%2 != 0 {
			return "", false
		}
		units := make([]uint16, 0, len(e.Value)/2)
		for i := 0; i < len(e.Value); i += 2 {
			units = append(units, uint16(e.Value[i])<<8|uint16(e.Value[i+1]))
		}
		return string(utf16.Decode(units)), true
	}
	return "", false
}

// Tags of the two kinds of time. RFC 5280, 4.1.2.5: years before 2050 have two
// digits, later ones four, both in UTC and to the second.
const (
	utcTime         tlv.Tag = 0x17
	generalizedTime tlv.Tag = 0x18
)

func readTime(r *tlv.Reader) time.Time {
	e := r.Next()
	if r.Err() != nil {
		return time.Time{}
	}
	layout := "060102150405Z"
	switch e.Tag {
	case utcTime:
	case generalizedTime:
		layout = "20060102150405Z"
	default:
		r.Fail(fmt.Errorf("%w: want a time, have %s", tlv.ErrMissing, e.Tag))
		return time.Time{}
	}
	t, err := time.Parse(layout, string(e.Value))
	if err != nil || t.Format(layout) != string(e.Value) {
		r.Fail(fmt.Errorf("%w: time %q", tlv.ErrValue, e.Value))
		return time.Time{}
	}
	if e.Tag == utcTime && t.Year() >= 2050 {
		t = t.AddDate(-100, 0, 0) // the library's window is 1969 to 2068
	}
	return t
}

// Extensions that are read, as content octets. RFC 5280, 4.2.1.
const (
	extSubjectKeyID     = "\x55\x1D\x0E"
	extKeyUsage         = "\x55\x1D\x0F"
	extSAN              = "\x55\x1D\x11"
	extBasicConstraints = "\x55\x1D\x13"
	extNameConstraints  = "\x55\x1D\x1E"
	extCRLPoints        = "\x55\x1D\x1F"
	extPolicies         = "\x55\x1D\x20"
	extAuthorityKeyID   = "\x55\x1D\x23"
	extExtKeyUsage      = "\x55\x1D\x25"
	extCRLNumber        = "\x55\x1D\x14"
)

// An extension is one entry of an Extensions list.
type extension struct {
	oid      []byte
	critical bool
	value    []byte
}

// readExtension takes one Extension.
func readExtension(r *tlv.Reader) extension {
	e := r.Sub(tlv.Sequence)
	x := extension{oid: e.Value(tlv.OID)}
	if e.Peek() == tlv.Boolean {
		x.critical = e.Bool(tlv.Boolean)
	}
	x.value = e.Value(tlv.OctetString)
	r.Fail(e.Close())
	return x
}

func (c *Certificate) readExtensions(list tlv.Reader) error {
	var seen [maxExtensions][]byte
	for n := 0; !list.Empty(); n++ {
		x := readExtension(&list)
		if list.Err() != nil {
			break
		}
		if n == maxExtensions {
			return fmt.Errorf("%w: more than %d extensions", tlv.ErrValue, maxExtensions)
		}
		for _, before := range seen[:n] {
			if bytes.Equal(before, x.oid) {
				return fmt.Errorf("%w: extension %x occurs twice", tlv.ErrValue, x.oid)
			}
		}
		seen[n] = x.oid
		if err := c.readExtension(x); err != nil {
			return fmt.Errorf("extension %x: %w", x.oid, err)
		}
	}
	return list.Err()
}

func (c *Certificate) readExtension(x extension) error {
	r := tlv.NewReader(x.value)
	switch string(x.oid) {
	case extSubjectKeyID:
		c.SubjectKeyID = r.Value(tlv.OctetString)
	case extAuthorityKeyID:
		seq := r.Sub(tlv.Sequence)
		c.AuthorityKeyID = seq.OptionalValue(tlv.Context(0))
		r.Fail(seq.Err())
	case extKeyUsage:
		set, err := tlv.Bits(r.Value(tlv.BitString))
		r.Fail(err)
		c.KeyUsage = KeyUsage(set)
	case extExtKeyUsage:
		seq := r.Sub(tlv.Sequence)
		for n := 0; !seq.Empty() && n < maxNames; n++ {
			c.ExtKeyUsage = append(c.ExtKeyUsage, readOID(&seq, tlv.OID))
		}
		r.Fail(seq.Close())
	case extPolicies:
		seq := r.Sub(tlv.Sequence)
		for n := 0; !seq.Empty() && n < maxNames; n++ {
			policy := seq.Sub(tlv.Sequence)
			c.Policies = append(c.Policies, readOID(&policy, tlv.OID))
			seq.Fail(policy.Err())
		}
		r.Fail(seq.Close())
	case extBasicConstraints:
		seq := r.Sub(tlv.Sequence)
		if seq.Peek() == tlv.Boolean {
			c.IsCA = seq.Bool(tlv.Boolean)
		}
		if seq.Peek() == tlv.Integer {
			n := seq.Int(tlv.Integer)
			if seq.Err() == nil && (n < 0 || n > 100) {
				seq.Fail(fmt.Errorf("%w: path length %d", tlv.ErrValue, n))
			}
			c.MaxPathLength = int(n)
		}
		r.Fail(seq.Close())
	case extSAN:
		c.readAlternativeNames(&r)
	case extNameConstraints:
		c.readNameConstraints(&r)
	case extCRLPoints:
		c.readCRLPoints(&r)
	default:
		if x.critical {
			c.UnknownCritical = append(c.UnknownCritical, ident.OID(dotted(x.oid)))
		}
		return nil
	}
	return r.Close()
}

// Tags of a GeneralName. RFC 5280, 4.2.1.6.
const (
	nameDNS        tlv.Tag = 0x82
	nameDirectory  tlv.Tag = 0xA4
	nameURI        tlv.Tag = 0x86
	nameIP         tlv.Tag = 0x87
	nameRegistered tlv.Tag = 0x88
)

func (c *Certificate) readAlternativeNames(r *tlv.Reader) {
	seq := r.Sub(tlv.Sequence)
	for n := 0; !seq.Empty(); n++ {
		if n == maxNames {
			seq.Fail(fmt.Errorf("%w: more than %d alternative names", tlv.ErrValue, maxNames))
		}
		switch seq.Peek() {
		case nameDNS:
			v := seq.Value(nameDNS)
			if !ascii(v) {
				seq.Fail(fmt.Errorf("%w: DNS name", tlv.ErrValue))
			}
			c.DNSNames = append(c.DNSNames, string(v))
		case nameIP:
			address, ok := netip.AddrFromSlice(seq.Value(nameIP))
			if !ok {
				seq.Fail(fmt.Errorf("%w: IP address", tlv.ErrValue))
			}
			c.IPAddresses = append(c.IPAddresses, address)
		case nameRegistered:
			if c.RegisteredID != "" {
				seq.Fail(fmt.Errorf("%w: two registered identifiers", tlv.ErrValue))
			}
			c.RegisteredID = readOID(&seq, nameRegistered)
		default:
			seq.Next()
		}
	}
	r.Fail(seq.Close())
}

// readNameConstraints reads the permitted directory names of an EUM
// certificate. Constraints of any other kind would need rules that SGP.22 does
// not have, so a certificate with one is refused.
func (c *Certificate) readNameConstraints(r *tlv.Reader) {
	seq := r.Sub(tlv.Sequence)
	permitted := seq.Sub(tlv.ContextConstructed(0))
	for n := 0; !permitted.Empty() && n < maxNames; n++ {
		subtree := permitted.Sub(tlv.Sequence)
		directory := subtree.Sub(nameDirectory)
		c.PermittedNames = append(c.PermittedNames, readName(&directory))
		subtree.Fail(directory.Close())
		permitted.Fail(subtree.Close())
	}
	seq.Fail(permitted.Close())
	r.Fail(seq.Close())
	c.constrained = true
}

// readCRLPoints keeps the addresses and passes over everything else: reasons
// and indirect issuers do not occur in the profile.
func (c *Certificate) readCRLPoints(r *tlv.Reader) {
	seq := r.Sub(tlv.Sequence)
	for n := 0; !seq.Empty() && n < maxNames; n++ {
		point := seq.Sub(tlv.Sequence)
		if name, ok := point.Optional(tlv.ContextConstructed(0)); ok {
			choice := name.Reader()
			if full, ok := choice.Optional(tlv.ContextConstructed(0)); ok {
				names := full.Reader()
				for !names.Empty() && len(c.CRLPoints) < maxNames {
					if e := names.Next(); e.Tag == nameURI && ascii(e.Value) {
						c.CRLPoints = append(c.CRLPoints, string(e.Value))
					}
				}
				seq.Fail(names.Err())
			}
			seq.Fail(choice.Err())
		}
		seq.Fail(point.Err())
	}
	r.Fail(seq.Close())
}

func readOID(r *tlv.Reader, tag tlv.Tag) ident.OID {
	v := r.Value(tag)
	if r.Err() != nil {
		return ""
	}
	oid, err := ident.OIDFromOctets(v)
	r.Fail(err)
	return oid
}

// dotted shows an object identifier in words for people, malformed or not.
func dotted(octets []byte) string {
	oid, err := ident.OIDFromOctets(octets)
	if err != nil {
		return fmt.Sprintf("(%x)", octets)
	}
	return string(oid)
}

func ascii(b []byte) bool {
	for _, o := range b {
		if o < 0x20 || o > 0x7E {
			return false
		}
	}
	return len(b) > 0
}
