package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"godwit/ident"
	"godwit/tlv"
)

// seal signs a TBS and returns the finished certificate or list.
func seal(tbs []byte, signer crypto.Signer) ([]byte, error) {
	digest := sha256.Sum256(tbs)
	sig, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return tlv.AppendNested(nil, tlv.Sequence, func(b []byte) []byte {
		b = append(b, tbs...)
		b = appendSignatureAlgorithm(b)
		return appendBits(b, sig)
	}), nil
}

func appendSignatureAlgorithm(dst []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(b []byte) []byte {
		return tlv.AppendString(b, tlv.OID, oidECDSAWithSHA256)
	})
}

// appendTBS appends the part of a certificate that is signed. RFC 5280, 4.1.
func appendTBS(dst []byte, req Request, public *PublicKey, issuer *Issuer) []byte {
	subject := appendSubject(nil, req, issuer)
	issuerName, issuerKeyID := subject, public.ID()
	if issuer != nil {
		issuerName, issuerKeyID = issuer.Certificate.Subject.Raw, issuer.Certificate.SubjectKeyID
	}
	return tlv.AppendNested(dst, tlv.Sequence, func(b []byte) []byte {
		b = tlv.AppendNested(b, tlv.ContextConstructed(0), func(b []byte) []byte {
			return tlv.AppendInt(b, tlv.Integer, 2)
		})
		b = tlv.Append(b, tlv.Integer, newSerial())
		b = appendSignatureAlgorithm(b)
		b = append(b, issuerName...)
		b = tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
			return appendTime(appendTime(b, req.NotBefore), req.NotAfter)
		})
		b = append(b, subject...)
		b = append(b, public.Info()...)
		return tlv.AppendNested(b, tlv.ContextConstructed(3), func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				return appendExtensions(b, req, public, issuerKeyID)
			})
		})
	})
}

// appendSubject appends the subject's name. The CI of SGP.26 writes the common
// name first, all others last.
func appendSubject(dst []byte, req Request, issuer *Issuer) []byte {
	s := req.Subject
	if req.Role == EUICC {
		s.Country = issuer.Certificate.Subject.Country
		s.Organization = issuer.Certificate.Subject.Organization
		if s.CommonName == "" {
			s.CommonName = "Test eUICC"
		}
	}
	attributes := []attribute{
		{attrCountry, printableString, s.Country},
		{attrOrganization, tlv.UTF8String, s.Organization},
		{attrOrganizationalUnit, tlv.UTF8String, s.OrganizationalUnit},
		{attrSerialNumber, printableString, string(req.EID)},
		{attrCommonName, tlv.UTF8String, s.CommonName},
	}
	if req.Role == CI {
		slices.Reverse(attributes)
	}
	return appendName(dst, attributes)
}

type attribute struct {
	kind  string
	tag   tlv.Tag
	value string
}

func appendName(dst []byte, attributes []attribute) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(b []byte) []byte {
		for _, a := range attributes {
			if a.value == "" {
				continue
			}
			b = tlv.AppendNested(b, tlv.Set, func(b []byte) []byte {
				return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
					return tlv.AppendString(tlv.AppendString(b, tlv.OID, a.kind), a.tag, a.value)
				})
			})
		}
		return b
	})
}

func appendTime(dst []byte, t time.Time) []byte {
	if t.Year() < 2050 {
		return tlv.AppendString(dst, utcTime, t.Format("060102150405Z"))
	}
	return tlv.AppendString(dst, generalizedTime, t.Format("20060102150405Z"))
}

// appendExtensions appends the extensions of the role, as SGP.22, 4.5.2.1
// prescribes them and in the order of the published test certificates.
func appendExtensions(b []byte, req Request, public *PublicKey, issuerKeyID []byte) []byte {
	role := roles[req.Role]
	if req.Role != CI {
		b = appendExtension(b, extAuthorityKeyID, false, func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				return tlv.Append(b, tlv.Context(0), issuerKeyID)
			})
		})
	}
	b = appendExtension(b, extSubjectKeyID, false, func(b []byte) []byte {
		return tlv.Append(b, tlv.OctetString, public.ID())
	})
	usage := role.usage
	if req.Role == CI {
		usage |= UsageCRLSign
	}
	b = appendExtension(b, extKeyUsage, true, func(b []byte) []byte { return appendKeyUsage(b, usage) })
	b = appendExtKeyUsage(b, req.Role)
	if role.policy != "" {
		critical := req.Role != DPTLS && req.Role != DSTLS
		b = appendExtension(b, extPolicies, critical, func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
					return tlv.Append(b, tlv.OID, ident.OID(role.policy).Octets())
				})
			})
		})
	}
	b = appendAlternativeNames(b, req)
	if req.Role == CI || req.Role == EUM {
		b = appendExtension(b, extBasicConstraints, true, func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				b = tlv.Append(b, tlv.Boolean, []byte{0xFF})
				if req.Role == EUM {
					b = tlv.AppendInt(b, tlv.Integer, 0)
				}
				return b
			})
		})
	}
	b = appendCRLPoints(b, req.CRLPoints)
	if req.Role == EUM {
		b = appendExtension(b, extNameConstraints, true, func(b []byte) []byte { return appendNameConstraints(b, req) })
	}
	return b
}

func appendExtension(dst []byte, oid string, critical bool, value func([]byte) []byte) []byte {
	return tlv.AppendNested(dst, tlv.Sequence, func(b []byte) []byte {
		b = tlv.AppendString(b, tlv.OID, oid)
		if critical {
			b = tlv.Append(b, tlv.Boolean, []byte{0xFF})
		}
		return tlv.AppendNested(b, tlv.OctetString, value)
	})
}

// appendKeyUsage appends the usages, all of which are in the first octet, as a
// BIT STRING without trailing zeros.
func appendKeyUsage(dst []byte, usage KeyUsage) []byte {
	var octet, unused byte
	for bit := range 8 {
		if usage&(1<<bit) != 0 {
			octet |= 0x80 >> bit
			unused = byte(7 - bit)
		}
	}
	return tlv.Append(dst, tlv.BitString, []byte{unused, octet})
}

func appendExtKeyUsage(b []byte, role Role) []byte {
	var purposes []ident.OID
	switch role {
	case DPTLS, DSTLS:
		purposes = []ident.OID{ServerAuth, ClientAuth}
	case Operator:
		purposes = []ident.OID{ClientAuth}
	default:
		return b
	}
	return appendExtension(b, extExtKeyUsage, true, func(b []byte) []byte {
		return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
			for _, p := range purposes {
				b = tlv.Append(b, tlv.OID, p.Octets())
			}
			return b
		})
	})
}

func appendAlternativeNames(b []byte, req Request) []byte {
	if len(req.Hosts) == 0 && req.OID == "" {
		return b
	}
	return appendExtension(b, extSAN, false, func(b []byte) []byte {
		return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
			for _, host := range req.Hosts {
				if address, err := netip.ParseAddr(host); err == nil {
					b = tlv.Append(b, nameIP, address.Unmap().AsSlice())
					continue
				}
				b = tlv.AppendString(b, nameDNS, host)
			}
			if req.OID != "" {
				b = tlv.Append(b, nameRegistered, req.OID.Octets())
			}
			return b
		})
	})
}

func appendCRLPoints(b []byte, points []string) []byte {
	if len(points) == 0 {
		return b
	}
	return appendExtension(b, extCRLPoints, false, func(b []byte) []byte {
		return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
			for _, uri := range points {
				b = tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
					return tlv.AppendNested(b, tlv.ContextConstructed(0), func(b []byte) []byte {
						return tlv.AppendNested(b, tlv.ContextConstructed(0), func(b []byte) []byte {
							return tlv.AppendString(b, nameURI, uri)
						})
					})
				})
			}
			return b
		})
	})
}

// appendNameConstraints permits one directory name: the EUM's organisation and
// the leading digits of its EIDs.
func appendNameConstraints(b []byte, req Request) []byte {
	return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
		return tlv.AppendNested(b, tlv.ContextConstructed(0), func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				return tlv.AppendNested(b, nameDirectory, func(b []byte) []byte {
					return appendName(b, []attribute{
						{attrOrganization, tlv.UTF8String, req.Subject.Organization},
						{attrSerialNumber, printableString, req.EIDPrefix},
					})
				})
			})
		})
	})
}

// IssueCRL makes a revocation list of a CI, in DER. number must grow from list to
// list.
func (i *Issuer) IssueCRL(number int64, revoked []Revocation, this, next time.Time) ([]byte, error) {
	if i.Certificate.KeyUsage&UsageCRLSign == 0 {
		return nil, fmt.Errorf("%w: %s may not sign revocation lists", ErrRequest, i.Certificate.Subject)
	}
	this, next = this.UTC().Truncate(time.Second), next.UTC().Truncate(time.Second)
	tbs := tlv.AppendNested(nil, tlv.Sequence, func(b []byte) []byte {
		b = tlv.AppendInt(b, tlv.Integer, 1)
		b = appendSignatureAlgorithm(b)
		b = append(b, i.Certificate.Subject.Raw...)
		b = appendTime(appendTime(b, this), next)
		if len(revoked) > 0 {
			b = tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				for _, r := range revoked {
					b = tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
						return appendTime(tlv.Append(b, tlv.Integer, r.Serial), r.At.UTC())
					})
				}
				return b
			})
		}
		return tlv.AppendNested(b, tlv.ContextConstructed(0), func(b []byte) []byte {
			return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
				b = appendExtension(b, extAuthorityKeyID, false, func(b []byte) []byte {
					return tlv.AppendNested(b, tlv.Sequence, func(b []byte) []byte {
						return tlv.Append(b, tlv.Context(0), i.Certificate.SubjectKeyID)
					})
				})
				return appendExtension(b, extCRLNumber, false, func(b []byte) []byte {
					return tlv.AppendInt(b, tlv.Integer, number)
				})
			})
		})
	})
	return seal(tbs, i.Key)
}
