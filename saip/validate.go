package saip

import "fmt"

// A Problem is one reason why an eUICC would refuse a package, or why a profile
// would not work.
type Problem struct {
	PE   int    // identification of the element concerned, 0 for the header or the whole
	Kind Kind   // of that element
	Rule string // stable name of the rule: "order", "unique-id", "services", ..
	Text string // what is wrong and what would be right
}

func (p Problem) Error() string {
	return fmt.Sprintf("%s PE %d: %s (rule %s)", p.Kind, p.PE, p.Text, p.Rule)
}

// Validate checks the package against the rules of the format.
func (p *Package) Validate() []Problem { return nil }

// ICCID returns the ICCID of the header as digits.
func (p *Package) ICCID() string { return "" }
