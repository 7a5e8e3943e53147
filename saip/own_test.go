package saip

import "testing"

// Our templates have no problem at all, not even a warning.
func TestOwnTemplates(t *testing.T) {
	for _, tpl := range Templates() {
		t.Run(tpl.Name, func(t *testing.T) {
			for _, p := range tpl.Package().Validate() {
				t.Error(p)
			}
			t.Logf("%d octets, needs %+v, takes %v", len(tpl.Bytes()), tpl.Needs(), tpl.Fields())
		})
	}
}
