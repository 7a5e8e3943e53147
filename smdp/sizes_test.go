package smdp

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"godwit/db/dbtest"
	"godwit/rsp"
	"godwit/saip"
	"godwit/tlv"
)

// filled returns a package of exactly n octets: a later version's element, which
// eUICCs pass over, fills it up.
func filled(t *testing.T, der []byte, n int) []byte {
	t.Helper()
	end := bytes.LastIndexByte(der, byte(saip.KindEnd))
	for fill := n - len(der); fill > n-len(der)-24 && fill > 0; fill-- {
		element := tlv.AppendNested(nil, 0xBF3F, func(b []byte) []byte {
			b = tlv.AppendNested(b, 0xA0, func(b []byte) []byte { return tlv.Append(b, 0x81, []byte{0x7F, 0}) })
			return tlv.Append(b, 0x81, bytes.Repeat([]byte{0xA5}, fill))
		})
		if len(der)+len(element) == n {
			return slices.Concat(der[:end], element, der[end:])
		}
	}
	t.Fatalf("a package of %d octets cannot be made of one of %d", n, len(der))
	return nil
}

// Idea 26 through the door: packages at which segments begin to differ, on both
// sides of a border of 1007 octets. Shorter ones than a profile is are in rsp.
func TestPackageSizes(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	template := w.template("minimal-usim")
	border := (len(template)/1007 + 2) * 1007
	for _, size := range []int{border - 1, border, border + 1, border + 2, 65535, 200000} {
		for _, protection := range []Protection{SessionKeys, PPK} {
			t.Run(fmt.Sprintf("%d octets, %s", size, protection), func(t *testing.T) {
				w.t = t
				id := fmt.Sprintf("size-%d-%s", size, protection)
				if err := w.server.AddType(t.Context(), ProfileType{
					ID: id, Template: filled(t, template, size), Protection: protection, Metadata: Metadata{ServiceProvider: "Op", Name: "Size"},
				}); err != nil {
					t.Fatal(err)
				}
				o := w.order(wish{typ: id})
				s := w.offeredTo(w.chip(), o)
				got, header := s.download("")
				wantCode(t, header, "")
				p, err := rsp.ParseBoundProfilePackage(got.BoundProfilePackage)
				if err != nil {
					t.Fatal(err)
				}
				inside := s.open(got.BoundProfilePackage)
				w.wantProfile(inside, o.iccid)
				n := len(inside.profile)
				if want := (n + 1006) / 1007; len(p.Profile) != want {
					t.Errorf("%d octets in %d segments, want %d", n, len(p.Profile), want)
				}
				// Personal data have their place in the template: nothing grows.
				if n != size {
					t.Errorf("the package has %d octets, the template %d", n, size)
				}
				for i, segment := range p.Profile {
					if len(segment) > 1020 || i < len(p.Profile)-1 && len(segment) != 1020 {
						t.Errorf("segment %d has %d octets", i, len(segment))
					}
				}
			})
		}
	}
}
