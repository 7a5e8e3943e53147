package sim

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"godwit/ident"
)

// ParseCountry reads a country code, ISO 3166-1 alpha-2 in any letter case, and
// returns it in capitals. A code that no country has is one all the same.
func ParseCountry(text string) (string, error) {
	c := strings.ToUpper(text)
	if len(text) != 2 || len(c) != 2 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "", fmt.Errorf("must be a country code of two letters (ISO 3166-1 alpha-2), not %.40q", text)
	}
	return c, nil
}

// A Network is one mobile brand in one country, the same for every account.
type Network struct {
	SID         string
	Name        string
	Country     string // ISO 3166 alpha-2 in capitals, ZZ for none
	Identifiers []ident.PLMN
}

// Has reports whether one of the network's identifiers has the given codes. An
// empty code fits all.
func (n Network) Has(mcc, mnc string) bool {
	return slices.ContainsFunc(n.Identifiers, func(p ident.PLMN) bool {
		return (mcc == "" || p.MCC == mcc) && (mnc == "" || p.MNC == mnc)
	})
}

// position is where the network stands in lists: catalogues have no dates.
func (n Network) position() string { return n.Country + " " + n.Name }

// A Catalogue is a set of networks that does not change while the program runs.
type Catalogue struct {
	list []Network // by position
	sids map[string]int
}

//go:embed networks.txt
var builtin []byte

// Builtin returns the networks that come with the program.
func Builtin() *Catalogue {
	c, err := ReadCatalogue(bytes.NewReader(builtin))
	if err != nil {
		panic(err) // the file is part of the program, and a test reads it
	}
	return c
}

// ReadCatalogue reads networks, one to a line: country, name and identifiers
// with tabs between them, the identifiers as MCC/MNC with blanks between them.
// Lines that begin with # are remarks.
func ReadCatalogue(r io.Reader) (*Catalogue, error) {
	c := &Catalogue{sids: map[string]int{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		network, err := readNetwork(line)
		if err != nil {
			return nil, fmt.Errorf("catalogue of networks, line %d: %w", n, err)
		}
		c.list = append(c.list, network)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read catalogue of networks: %w", err)
	}
	slices.SortFunc(c.list, func(a, b Network) int { return strings.Compare(a.position(), b.position()) })
	for i, n := range c.list {
		if _, twice := c.sids[n.SID]; twice {
			return nil, fmt.Errorf("catalogue of networks: %s is there twice; write its identifiers on one line", n.position())
		}
		c.sids[n.SID] = i
	}
	return c, nil
}

func readNetwork(line string) (Network, error) {
	parts := strings.Split(line, "\t")
	if len(parts) != 3 {
		return Network{}, fmt.Errorf("want country, name and identifiers with tabs between them")
	}
	n := Network{Country: parts[0], Name: strings.TrimSpace(parts[1])}
	if c, err := ParseCountry(n.Country); err != nil || c != n.Country {
		return Network{}, fmt.Errorf("a country is two capital letters, not %q", n.Country)
	}
	if n.Name == "" {
		return Network{}, fmt.Errorf("the network has no name")
	}
	for _, s := range strings.Fields(parts[2]) {
		mcc, mnc, _ := strings.Cut(s, "/")
		p, err := ident.ParsePLMN(s)
		if err != nil || p.MCC != mcc || p.MNC != mnc {
			return Network{}, fmt.Errorf("an identifier is three digits of MCC, a slash and two or three of MNC, not %q", s)
		}
		n.Identifiers = append(n.Identifiers, p)
	}
	if len(n.Identifiers) == 0 {
		return Network{}, fmt.Errorf("%s has no identifier", n.Name)
	}
	// Made from what the network is, so that every server of every
	// installation knows it by the same name without storing it.
	sum := sha256.Sum256([]byte("network\n" + n.Country + "\n" + n.Name))
	n.SID = NetworkPrefix + hex.EncodeToString(sum[:16])
	return n, nil
}

// Network returns the network with the given SID.
func (c *Catalogue) Network(sid string) (Network, bool) {
	i, ok := c.sids[Canonical(sid)]
	if !ok {
		return Network{}, false
	}
	return c.list[i], true
}

// A NetworkFilter selects networks; empty members fit all.
type NetworkFilter struct {
	Country  string // any letter case
	MCC, MNC string // of one and the same identifier
}

func (f NetworkFilter) fits(n Network) bool {
	return (f.Country == "" || strings.EqualFold(f.Country, n.Country)) && n.Has(f.MCC, f.MNC)
}

// Networks lists networks by country and name.
func (c *Catalogue) Networks(f NetworkFilter, p Page) List[Network] { return pageOf(c.list, f, p) }

// pageOf returns a page of networks that stand in the order of their SIDs'
// positions. The position of a page's key is the key's SID alone.
func pageOf(all []Network, f NetworkFilter, p Page) List[Network] {
	var fit []Network
	for _, n := range all {
		if f.fits(n) {
			fit = append(fit, n)
		}
	}
	at := func(sid string) int { return slices.IndexFunc(fit, func(n Network) bool { return n.SID == sid }) }
	from := min(p.Offset, len(fit))
	to := min(from+p.Limit, len(fit))
	switch {
	case p.After != Key{}:
		from = at(p.After.SID) + 1
		to = min(from+p.Limit, len(fit))
	case p.Before != Key{}:
		to = max(0, at(p.Before.SID))
		from = max(0, to-p.Limit)
	}
	return List[Network]{Items: fit[from:to], More: to < len(fit)}
}

// Key returns the network's place for paging.
func (n Network) Key() Key { return Key{SID: n.SID} }
