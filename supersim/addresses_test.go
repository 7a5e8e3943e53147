package supersim

import (
	"net/netip"
	"testing"

	"godwit/sim"
)

// TestAddressesPageByPage: a device with several addresses is seen with all of
// them, however small the pages are, and on the way back too.
func TestAddressesPageByPage(t *testing.T) {
	all := []netip.Addr{netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("100.64.0.2")}
	for size := 1; size <= 4; size++ {
		var seen []netip.Addr
		p := sim.Page{Limit: size}
		for {
			l := cutAddresses("HS1", all, p)
			for _, a := range l.Items {
				seen = append(seen, a.Addr)
			}
			if !l.More {
				if back := cutAddresses("HS1", all, sim.Page{Limit: 1, Before: l.Items[len(l.Items)-1].key()}); len(seen) > 1 && (len(back.Items) != 1 || back.Items[0].Addr != seen[len(seen)-2] || !back.More) {
					t.Errorf("back from the last to %+v", back)
				}
				break
			}
			p = sim.Page{Limit: size, After: l.Items[len(l.Items)-1].key()}
		}
		if len(seen) != len(all) || seen[0] != all[0] || seen[2] != all[2] {
			t.Errorf("pages of %d show %v", size, seen)
		}
	}
}
