package rsp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"godwit/ident"
	"godwit/pki"
	"godwit/tlv"
)

// Tags of a bound profile package and of what its segments carry.
const (
	TagBoundProfilePackage     tlv.Tag = 0xBF36
	TagInitialiseSecureChannel tlv.Tag = 0xBF23
	TagConfigureISDP           tlv.Tag = 0xBF24
	TagReplaceSessionKeys      tlv.Tag = 0xBF26
	tagFirst87                 tlv.Tag = 0xA0
	tag88                      tlv.Tag = 0xA1
	tagSecond87                tlv.Tag = 0xA2
	tag86                      tlv.Tag = 0xA3
)

// A Binding is what a bound profile package is made of. The same binding gives
// the same octets, so a retry with the same one-time keys takes the kept
// binding with the transaction identifier of the new run: only
// InitialiseSecureChannel changes, and no segment is encrypted twice under one
// counter with different content. SGP.22 v2.5, 5.6.3.
type Binding struct {
	TransactionID TransactionID
	HostID        []byte // 1 to 16 octets; enters the key derivation
	ServerKey     []byte // otPK.DP, the public point
	EUICCKey      []byte // otPK.eUICC
	Keys          *Keys  // agreed between the two
	OID           ident.OID
	Metadata      []byte // StoreMetadata as the eUICC stores it, [Metadata.AppendStored]
	ProfileKeys   *Keys  // PPK; nil: the agreed keys protect the profile too
	Profile       []byte // the personalised profile package
}

// Append appends the bound profile package. signer holds the DPpb key.
func (b *Binding) Append(dst []byte, signer crypto.Signer) ([]byte, error) {
	if err := b.check(); err != nil {
		return dst, err
	}
	channel := InitialiseSecureChannel{
		RemoteOperation: remoteInstall, TransactionID: b.TransactionID,
		KeyType: keyTypeAES, KeyLength: keyLengthAES, HostID: b.HostID, ServerKey: b.ServerKey,
	}
	head, err := channel.sign(signer, b.EUICCKey)
	if err != nil {
		return dst, err
	}
	configure := ConfigureISDP{OID: b.OID}.Append(nil)
	metadata := cut(len(b.Metadata), plainSize)
	profile := cut(len(b.Profile), encryptedSize)
	first := encryptedSize(len(configure))
	second := 0
	if b.ProfileKeys != nil {
		second = encryptedSize(replaceSize)
	}
	n := len(head) + elementSize(tagFirst87, first) + elementSize(tag88, metadata) + elementSize(tag86, profile)
	if second > 0 {
		n += elementSize(tagSecond87, second)
	}
	dst = slices.Grow(dst, elementSize(TagBoundProfilePackage, n))

	dst = tlv.AppendHeader(dst, TagBoundProfilePackage, n)
	dst = append(dst, head...)
	p := NewProtection(b.Keys)
	dst = tlv.AppendHeader(dst, tagFirst87, first)
	dst = p.AppendEncrypted(dst, TagSegmentCommand, configure)
	dst = tlv.AppendHeader(dst, tag88, metadata)
	for piece := range slices.Chunk(b.Metadata, MaxPlain) {
		dst = p.AppendPlain(dst, TagSegmentMetadata, piece)
	}
	if b.ProfileKeys != nil {
		dst = tlv.AppendHeader(dst, tagSecond87, second)
		dst = p.AppendEncrypted(dst, TagSegmentCommand, appendReplaceKeys(make([]byte, 0, replaceSize), b.ProfileKeys))
		p.Replace(b.ProfileKeys)
	}
	dst = tlv.AppendHeader(dst, tag86, profile)
	for piece := range slices.Chunk(b.Profile, MaxPlain) {
		dst = p.AppendEncrypted(dst, TagSegmentProfile, piece)
	}
	return dst, nil
}

func (b *Binding) check() error {
	switch {
	case b.TransactionID.IsZero():
		return fmt.Errorf("bind profile: no transaction identifier")
	case len(b.HostID) < 1 || len(b.HostID) > 16:
		return fmt.Errorf("bind profile: a host identifier has 1 to 16 octets, not %d", len(b.HostID))
	case len(b.ServerKey) != PointSize || len(b.EUICCKey) != PointSize:
		return fmt.Errorf("bind profile: a one-time public key has 65 octets")
	case b.Keys == nil:
		return fmt.Errorf("bind profile: no session keys")
	case len(b.Metadata) == 0 || len(b.Profile) == 0:
		return fmt.Errorf("bind profile: empty metadata or profile")
	case len(b.Profile) > tlv.MaxElement/2:
		return fmt.Errorf("bind profile: a profile of %d octets", len(b.Profile))
	}
	return nil
}

// elementSize returns the octets of an element with n octets of content.
func elementSize(tag tlv.Tag, n int) int {
	var buf [8]byte
	return len(tlv.AppendHeader(buf[:0], tag, n)) + n
}

func encryptedSize(n int) int { return elementSize(TagSegmentProfile, (n/16+1)*16+8) }

func plainSize(n int) int { return elementSize(TagSegmentMetadata, n+8) }

// cut returns the octets of all segments that carry n octets.
func cut(n int, size func(int) int) int {
	total := n / MaxPlain * size(MaxPlain)
	if rest := n % MaxPlain; rest > 0 {
		total += size(rest)
	}
	return total
}

// remoteInstall is the one remote operation there is: installBoundProfilePackage.
const remoteInstall = 1

// InitialiseSecureChannel opens a bound profile package. SGP.22 v2.5, 5.5.1.
type InitialiseSecureChannel struct {
	RemoteOperation int64
	TransactionID   TransactionID
	KeyType         byte
	KeyLength       byte
	HostID          []byte
	ServerKey       []byte // otPK.DP, a point that nobody has checked yet

	signed, signature []byte
}

// content appends what the signature covers, but for the eUICC's key.
func (c *InitialiseSecureChannel) content(dst []byte) []byte {
	dst = tlv.AppendInt(dst, 0x82, c.RemoteOperation)
	dst = c.TransactionID.Append(dst, 0x80)
	dst = tlv.AppendNested(dst, 0xA6, func(dst []byte) []byte {
		dst = tlv.Append(dst, 0x80, []byte{c.KeyType})
		dst = tlv.Append(dst, 0x81, []byte{c.KeyLength})
		return tlv.Append(dst, 0x84, c.HostID)
	})
	return tlv.Append(dst, TagOneTimeKey, c.ServerKey)
}

// sign returns the whole element. The signature covers the eUICC's one-time key
// as if it stood in the element, though it does not.
func (c *InitialiseSecureChannel) sign(signer crypto.Signer, euiccKey []byte) ([]byte, error) {
	content := c.content(make([]byte, 0, 256))
	n := len(content)
	signature, err := pki.Sign(signer, tlv.Append(content, TagOneTimeKey, euiccKey))
	if err != nil {
		return nil, fmt.Errorf("sign InitialiseSecureChannel: %w", err)
	}
	content = AppendSignature(content[:n], signature)
	return tlv.Append(make([]byte, 0, len(content)+8), TagInitialiseSecureChannel, content), nil
}

// ParseInitialiseSecureChannel reads the element, and judges neither values nor
// signature: an eUICC has a reason of its own for each.
func ParseInitialiseSecureChannel(der []byte) (*InitialiseSecureChannel, error) {
	e, err := tlv.ParseTag(der, TagInitialiseSecureChannel)
	if err != nil {
		return nil, err
	}
	c := &InitialiseSecureChannel{}
	r := e.Reader()
	c.RemoteOperation = r.Int(0x82)
	c.TransactionID = transactionID(&r, 0x80)
	crt := r.Sub(0xA6)
	keyType, keyLength := crt.Fixed(0x80, 1), crt.Fixed(0x81, 1)
	c.HostID = crt.Value(0x84)
	r.Fail(crt.Err())
	c.ServerKey = r.Fixed(TagOneTimeKey, PointSize)
	c.signed = e.Value[:len(e.Value)-len(r.Rest())]
	c.signature = r.Fixed(TagSignature, SignatureSize)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read InitialiseSecureChannel: %w", err)
	}
	c.KeyType, c.KeyLength = keyType[0], keyLength[0]
	return c, nil
}

// SupportedCRT reports whether keys are to be derived as SGP.22 says: AES with
// 16 octets and a host identifier of 1 to 16.
func (c *InitialiseSecureChannel) SupportedCRT() bool {
	return c.KeyType == keyTypeAES && c.KeyLength == keyLengthAES && len(c.HostID) >= 1 && len(c.HostID) <= 16
}

// IsInstall reports whether the remote operation is the one that there is.
func (c *InitialiseSecureChannel) IsInstall() bool { return c.RemoteOperation == remoteInstall }

// Verify checks the SM-DP+'s signature with the key of its DPpb certificate and
// the one-time key that the eUICC gave out.
func (c *InitialiseSecureChannel) Verify(key *pki.PublicKey, euiccKey []byte) error {
	if !key.VerifyDigest(digest(c.signed, tlv.Append(nil, TagOneTimeKey, euiccKey)), c.signature) {
		return fmt.Errorf("smdpSign: %w", ErrSignature)
	}
	return nil
}

// ConfigureISDP names the SM-DP+ that made a profile. SGP.22 v2.5, 5.5.2.
type ConfigureISDP struct {
	OID ident.OID // empty: no dpProprietaryData
	Raw []byte    // content of dpProprietaryData as it arrived
}

// Append appends the command.
func (c ConfigureISDP) Append(dst []byte) []byte {
	return tlv.AppendNested(dst, TagConfigureISDP, func(dst []byte) []byte {
		if c.OID == "" {
			return dst
		}
		return tlv.AppendNested(dst, 0xB8, func(dst []byte) []byte {
			return tlv.Append(dst, 0x80, c.OID.Octets())
		})
	})
}

// ParseConfigureISDP reads the command.
func ParseConfigureISDP(der []byte) (*ConfigureISDP, error) {
	e, err := tlv.ParseTag(der, TagConfigureISDP)
	if err != nil {
		return nil, err
	}
	c := &ConfigureISDP{}
	r := e.Reader()
	data, ok := r.Optional(0xB8)
	if err := r.Err(); err != nil || !ok {
		return c, wrap("read ConfigureISDP", err)
	}
	if len(data.Raw) > 128 { // SGP.22 v2.5, 2.5.6: maximum size of dpProprietaryData
		return nil, fmt.Errorf("read ConfigureISDP: %w: dpProprietaryData has %d octets, at most 128 are allowed", tlv.ErrValue, len(data.Raw))
	}
	c.Raw = data.Value
	inner := data.Reader()
	oid := inner.Value(0x80)
	if err := inner.Err(); err != nil {
		return nil, fmt.Errorf("read ConfigureISDP: %w", err)
	}
	c.OID, err = ident.OIDFromOctets(oid)
	return c, wrap("read ConfigureISDP", err)
}

// replaceSize is the size of ReplaceSessionKeys, which is always the same.
const replaceSize = 57

func appendReplaceKeys(dst []byte, k *Keys) []byte {
	dst = tlv.AppendHeader(dst, TagReplaceSessionKeys, 54)
	dst = tlv.Append(dst, 0x80, k.Chaining[:])
	dst = tlv.Append(dst, 0x81, k.ENC[:])
	return tlv.Append(dst, 0x82, k.MAC[:])
}

// AppendReplaceSessionKeys appends the command that hands over the keys which
// protect the profile. SGP.22 v2.5, 5.5.4.
func AppendReplaceSessionKeys(dst []byte, k *Keys) []byte { return appendReplaceKeys(dst, k) }

// ParseReplaceSessionKeys reads the command.
func ParseReplaceSessionKeys(der []byte) (*Keys, error) {
	e, err := tlv.ParseTag(der, TagReplaceSessionKeys)
	if err != nil {
		return nil, err
	}
	r := e.Reader()
	chaining, enc, mac := r.Fixed(0x80, 16), r.Fixed(0x81, 16), r.Fixed(0x82, 16)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read ReplaceSessionKeys: %w", err)
	}
	return &Keys{[16]byte(chaining), [16]byte(enc), [16]byte(mac)}, nil
}

// A BoundProfilePackage is one that was received, taken apart. All of its parts
// share memory with it.
type BoundProfilePackage struct {
	Raw        []byte
	Initialise []byte   // BF23, whole
	Configure  [][]byte // segments 87
	Metadata   [][]byte // segments 88
	Replace    [][]byte // segments 87, none without profile keys
	Profile    [][]byte // segments 86

	units [][]byte
}

// ParseBoundProfilePackage takes a package apart.
func ParseBoundProfilePackage(der []byte) (*BoundProfilePackage, error) {
	e, err := tlv.ParseTag(der, TagBoundProfilePackage)
	if err != nil {
		return nil, fmt.Errorf("read bound profile package: %w", err)
	}
	b := &BoundProfilePackage{Raw: e.Raw}
	r := e.Reader()
	b.Initialise = r.Element(TagInitialiseSecureChannel).Raw
	first, metadata := r.Element(tagFirst87), r.Element(tag88)
	second, replaced := r.Optional(tagSecond87)
	profile := r.Element(tag86)
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read bound profile package: %w", err)
	}
	// The first unit is the header of the whole with InitialiseSecureChannel.
	b.units = append(b.units, e.Raw[:len(e.Raw)-len(e.Value)+len(b.Initialise)])
	for _, part := range []struct {
		e       tlv.Element
		tag     tlv.Tag
		to      *[][]byte
		at      bool
		oneUnit bool // the commands go in one unit with their header; the rest one by one
	}{
		{first, TagSegmentCommand, &b.Configure, true, true},
		{metadata, TagSegmentMetadata, &b.Metadata, true, false},
		{second, TagSegmentCommand, &b.Replace, replaced, true},
		{profile, TagSegmentProfile, &b.Profile, true, false},
	} {
		if !part.at {
			continue
		}
		if *part.to, err = segments(part.e, part.tag); err != nil {
			return nil, fmt.Errorf("read bound profile package: %w", err)
		}
		if part.oneUnit {
			b.units = append(b.units, part.e.Raw)
			continue
		}
		b.units = append(b.units, part.e.Raw[:len(part.e.Raw)-len(part.e.Value)])
		b.units = append(b.units, *part.to...)
	}
	return b, nil
}

func segments(e tlv.Element, tag tlv.Tag) ([][]byte, error) {
	var out [][]byte
	r := e.Reader()
	for len(r.Rest()) > 0 {
		segment := r.Element(tag).Raw
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("in %s: %w", e.Tag, err)
		}
		if len(segment) > maxReceived {
			return nil, fmt.Errorf("in %s: %w: %d octets", e.Tag, ErrSegment, len(segment))
		}
		out = append(out, segment)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: segment in %s", tlv.ErrMissing, e.Tag)
	}
	return out, nil
}

// Units returns the package in the pieces in which it goes to the eUICC, each a
// chain of STORE DATA commands. SGP.22 v2.5, 2.5.5.
func (b *BoundProfilePackage) Units() [][]byte { return b.units }

// StoredMetadata returns the profile metadata in the package, BF25, which
// anybody can read. That it is genuine is known to the eUICC alone.
func (b *BoundProfilePackage) StoredMetadata() ([]byte, error) {
	var out []byte
	for _, segment := range b.Metadata {
		e, err := tlv.Parse(segment)
		if err != nil || len(e.Value) < 8 {
			return nil, fmt.Errorf("read metadata of a bound profile package: %w", ErrSegment)
		}
		out = append(out, e.Value[:len(e.Value)-8]...)
	}
	if _, err := tlv.ParseTag(out, TagStoreMetadata); err != nil {
		return nil, fmt.Errorf("read metadata of a bound profile package: %w", err)
	}
	return out, nil
}

// Open opens all segments with the agreed keys and returns what they carry: for
// tests of a server and for an eUICC that holds the whole package.
func (b *BoundProfilePackage) Open(keys *Keys) (configure, metadata, profile []byte, profileKeys *Keys, err error) {
	p := NewProtection(keys)
	open := func(segments [][]byte) []byte {
		var out bytes.Buffer
		for _, s := range segments {
			plain, failed := p.Open(s)
			err = errors.Join(err, failed)
			out.Write(plain)
		}
		return out.Bytes()
	}
	configure, metadata = open(b.Configure), open(b.Metadata)
	if b.Replace != nil {
		replace := open(b.Replace)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		if profileKeys, err = ParseReplaceSessionKeys(replace); err != nil {
			return nil, nil, nil, nil, err
		}
		p.Replace(profileKeys)
	}
	profile = open(b.Profile)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	return configure, metadata, profile, profileKeys, nil
}

// A LoadUnit is what one chain of STORE DATA brings to an eUICC that loads a
// bound profile package: the header of a part, segments, or both.
type LoadUnit struct {
	Part       LoadPart // of a unit that begins with a header
	Initialise []byte   // BF23, whole, in the first unit
	Segments   [][]byte
}

// A LoadPart is a part of a bound profile package, by the tag of its header.
type LoadPart tlv.Tag

// Parts. A unit that brings a segment alone has none.
const (
	PartStart        = LoadPart(TagBoundProfilePackage)
	PartConfigure    = LoadPart(tagFirst87)
	PartMetadata     = LoadPart(tag88)
	PartReplaceKeys  = LoadPart(tagSecond87)
	PartProfile      = LoadPart(tag86)
	PartContinuation = LoadPart(0)
)

// IsLoadTag reports whether a unit may begin with the given octets: an eUICC
// answers others with 6A88 and stays where it was.
func IsLoadTag(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case 0xA0, 0xA1, 0xA2, 0xA3, 0x86, 0x87, 0x88:
		return true
	}
	return len(b) > 1 && b[0] == 0xBF && b[1] == 0x36
}

// ParseLoadUnit reads one unit. The length in a header counts what follows in
// other units and is not judged here.
func ParseLoadUnit(b []byte) (*LoadUnit, error) {
	u := &LoadUnit{}
	if !IsLoadTag(b) {
		return nil, fmt.Errorf("%w: load unit", tlv.ErrTag)
	}
	tagLength := 1
	if b[0] == 0xBF {
		tagLength = 2
	}
	if b[0] >= 0xA0 {
		u.Part = LoadPart(b[0])
		if tagLength == 2 {
			u.Part = PartStart
		}
		n, err := headerLength(b, tagLength)
		if err != nil {
			return nil, err
		}
		b = b[n:]
	}
	r := tlv.NewReader(b)
	if u.Part == PartStart {
		u.Initialise = r.Element(TagInitialiseSecureChannel).Raw
	}
	for len(r.Rest()) > 0 && r.Err() == nil {
		e := r.Next()
		if e.Tag < TagSegmentProfile || e.Tag > TagSegmentMetadata {
			r.Fail(fmt.Errorf("%w: %s", tlv.ErrTag, e.Tag))
		}
		u.Segments = append(u.Segments, e.Raw)
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("read load unit: %w", err)
	}
	return u, nil
}

// headerLength returns the octets of tag and length, whatever follows.
func headerLength(b []byte, tagLength int) (int, error) {
	if len(b) <= tagLength {
		return 0, fmt.Errorf("read load unit: %w", tlv.ErrTruncated)
	}
	n := tagLength + 1
	if l := b[tagLength]; l >= 0x80 {
		if l == 0x80 || l > 0x84 {
			return 0, fmt.Errorf("read load unit: %w", tlv.ErrLength)
		}
		n += int(l & 0x7F)
	}
	if n > len(b) {
		return 0, fmt.Errorf("read load unit: %w", tlv.ErrTruncated)
	}
	return n, nil
}
