package sim

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"

	"godwit/fault"
	"godwit/ident"
)

// providersXML is the file serviceproviders.xml of mobile-broadband-provider-info,
// format 2.0, as far as it is about networks.
type providersXML struct {
	XMLName   xml.Name `xml:"serviceproviders"`
	Countries []struct {
		Code      string `xml:"code,attr"`
		Providers []struct {
			Primary bool `xml:"primary,attr"`
			Names   []struct {
				Language string `xml:"lang,attr"`
				Text     string `xml:",chardata"`
			} `xml:"name"`
			Networks []struct {
				MCC string `xml:"mcc,attr"`
				MNC string `xml:"mnc,attr"`
			} `xml:"gsm>network-id"`
		} `xml:"provider"`
	} `xml:"country"`
}

// readProviders reads networks from such a file. Brands without a network of
// their own stand in it with the codes of their hosts: a code goes to the
// provider that the file calls primary, else to the first that names it.
func readProviders(r io.Reader) (all []Network, passed int, err error) {
	var file providersXML
	if err := xml.NewDecoder(r).Decode(&file); err != nil {
		return nil, 0, fault.New(fault.Invalid, "the file is no XML list of providers: %v", err)
	}
	found := map[brand][]ident.PLMN{}
	for _, c := range file.Countries {
		country := strings.ToUpper(c.Code)
		taken := map[ident.PLMN]bool{}
		for _, primary := range []bool{true, false} {
			for _, p := range c.Providers {
				if p.Primary != primary {
					continue
				}
				name := ""
				for _, n := range p.Names {
					if text := strings.Join(strings.Fields(n.Text), " "); name == "" || n.Language == "" {
						name = text
					}
				}
				key := brand{country, name}
				for _, n := range p.Networks {
					code, err := ident.ParsePLMN(n.MCC + "/" + n.MNC)
					if err != nil || len(country) != 2 || name == "" || len(name) > 100 {
						passed++
						continue
					}
					if slices.Contains(found[key], code) {
						continue
					}
					if taken[code] {
						passed++
						continue
					}
					taken[code] = true
					found[key] = append(found[key], code)
				}
			}
		}
	}
	all, wrong := brands(found)
	return all, passed + wrong, nil
}
