package saip

// A Capability is a bit of UICCCapability, as euiccInfo2 announces them.
type Capability int

// Needs is what a package asks of an eUICC, for the eligibility check before a
// download. SGP.22, 4.6 and annex of uiccCapability.
type Needs struct {
	Major, Minor int          // version of the profile package format
	Capabilities []Capability // bits that must be set
	Templates    []string     // OIDs of file system templates, "2.23.143.1.2.1"
	Memory       int          // approximate non-volatile memory in octets
}

// Needs tells what the package asks of an eUICC.
func (p *Package) Needs() Needs { return Needs{} }

// Missing returns the names of the needed capabilities that are not among the
// bits of an eUICC, bit 0 being contactless. Empty means eligible.
func (n Needs) Missing(capabilities uint64) []string { return nil }
