package pki

import "time"

// A RevocationList is a CI's list of certificates that are no longer good.
// Its signature has been checked. SGP.22, 4.5.2.2; RFC 5280, 5.
type RevocationList struct {
	Raw        []byte
	Issuer     Name
	Number     int64 // CRL number, -1 when there is none
	ThisUpdate time.Time
	NextUpdate time.Time // zero when there is none
	revoked    map[string]time.Time
}

// Len returns how many certificates are on the list.
func (l *RevocationList) Len() int { return len(l.revoked) }
