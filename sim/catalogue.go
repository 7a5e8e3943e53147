package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// A listed is one entry of the lists of network codes that others publish as
// JSON, such as the npm package mcc-mnc-list.
type listed struct {
	Type    string `json:"type"`
	Country string `json:"countryCode"`
	MCC     string `json:"mcc"`
	MNC     string `json:"mnc"`
	Brand   string `json:"brand"`
	Owner   string `json:"operator"`
	Status  string `json:"status"`
}

// ReadNetworks reads networks from a file: lines as [ReadCatalogue] takes them,
// a JSON array of codes with countryCode, mcc, mnc, brand, operator and status,
// or the XML of mobile-broadband-provider-info. Of JSON it takes what is in
// operation. One brand in one country is one network. It says how many codes it
// passed over.
func ReadNetworks(r io.Reader) (all []Network, passed int, err error) {
	in := bufio.NewReader(r)
	for {
		b, err := in.Peek(1)
		if err != nil || !bytes.ContainsAny(b, " \t\r\n") {
			break
		}
		in.Discard(1)
	}
	switch b, err := in.Peek(1); {
	case err == nil && b[0] == '<':
		return readProviders(in)
	case err != nil || b[0] != '[':
		c, err := ReadCatalogue(in)
		if err != nil {
			return nil, 0, fault.New(fault.Invalid, "%v", err)
		}
		return c.list, 0, nil
	}
	var list []listed
	if err := json.NewDecoder(in).Decode(&list); err != nil {
		return nil, 0, fault.New(fault.Invalid, "the file is no JSON list of network codes: %v", err)
	}
	found := map[brand][]ident.PLMN{}
	for _, l := range list {
		country, _, _ := strings.Cut(strings.ToUpper(l.Country), "-") // GE-AB is a part of GE
		name := strings.Join(strings.Fields(l.Brand), " ")
		if name == "" {
			name = strings.Join(strings.Fields(l.Owner), " ")
		}
		p, err := ident.ParsePLMN(l.MCC + "/" + l.MNC)
		if l.Type != "National" || l.Status != "Operational" || len(country) != 2 || name == "" || len(name) > 100 || err != nil {
			passed++
			continue
		}
		key := brand{country, name}
		if !slices.Contains(found[key], p) {
			found[key] = append(found[key], p)
		}
	}
	all, wrong := brands(found)
	return all, passed + wrong, nil
}

// A brand is what is one network.
type brand struct{ country, name string }

// brands makes networks, and says how many codes are of none.
func brands(found map[brand][]ident.PLMN) (all []Network, passed int) {
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b brand) int {
		return strings.Compare(a.country+" "+a.name, b.country+" "+b.name)
	}) {
		n, err := readNetwork(key.country + "\t" + key.name + "\t" + identifiers(found[key]))
		if err != nil {
			passed += len(found[key])
			continue
		}
		all = append(all, n)
	}
	return all, passed
}

func identifiers(all []ident.PLMN) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.MCC + "/" + p.MNC
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// With returns a catalogue that has more networks. A brand that has an
// identifier of a network of the same country which is there already is that
// network, whatever it is called now: names and SIDs that were given out stay.
func (c *Catalogue) With(more []Network) *Catalogue {
	type place struct {
		country string
		code    ident.PLMN
	}
	all := slices.Clone(c.list)
	owner := map[place]int{}
	named := map[string]int{}
	for i, n := range all {
		named[n.SID] = i
		for _, p := range n.Identifiers {
			owner[place{n.Country, p}] = i
		}
	}
	for _, n := range more {
		i, same := named[n.SID]
		for _, p := range n.Identifiers {
			if o, known := owner[place{n.Country, p}]; known && !same {
				i, same = o, true
			}
		}
		if !same {
			i = len(all)
			all = append(all, Network{SID: n.SID, Name: n.Name, Country: n.Country})
			named[n.SID] = i
		}
		fresh := slices.Clone(all[i].Identifiers)
		for _, p := range n.Identifiers {
			if _, taken := owner[place{n.Country, p}]; !taken {
				owner[place{n.Country, p}] = i
				fresh = append(fresh, p)
			}
		}
		all[i].Identifiers = fresh
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.position(), b.position()) })
	larger := &Catalogue{list: all, sids: map[string]int{}}
	for i, n := range all {
		larger.sids[n.SID] = i
	}
	return larger
}

// Len returns how many networks there are.
func (c *Catalogue) Len() int { return len(c.list) }

// LoadCatalogue returns the networks that come with the program together with
// those that were imported.
func LoadCatalogue(ctx context.Context, d *db.DB) (*Catalogue, error) {
	var more []Network
	err := d.Read(ctx, func(q db.Query) (err error) {
		more, err = db.All(ctx, q, func(r db.Row) (Network, error) {
			var country, name, codes string
			if err := r.Scan(&country, &name, &codes); err != nil {
				return Network{}, err
			}
			return readNetwork(country + "\t" + name + "\t" + codes)
		}, `select country, name, identifiers from network order by country, name`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read imported networks: %w", err)
	}
	return Builtin().With(more), nil
}

// ImportNetworks stores networks beside those that come with the program. One
// that was imported before gets its new identifiers; none goes, for network
// access profiles may name it. Servers know them from their next start on.
func ImportNetworks(ctx context.Context, d *db.DB, log *event.Log, source string, list []Network) error {
	if len(list) == 0 {
		return fault.New(fault.Invalid, "the file holds no networks")
	}
	return d.Write(ctx, func(tx *db.Tx) error {
		now := log.Now()
		rows := make([][]any, len(list))
		for i, n := range list {
			rows[i] = []any{n.Country, n.Name, identifiers(n.Identifiers), source, now.UnixMicro()}
		}
		if _, err := tx.ExecMany(ctx, `insert into network (country, name, identifiers, source, created_at) values {}
			on conflict (country, name) do update set identifiers = excluded.identifiers, source = excluded.source`, nil, rows); err != nil {
			return fmt.Errorf("store networks: %w", err)
		}
		return log.Append(ctx, tx, event.Event{Kind: "networks.imported", Subject: source, At: now, Data: map[string]any{"networks": len(list)}})
	})
}
