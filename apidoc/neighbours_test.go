package apidoc_test

import (
	"slices"
	"testing"

	"godwit/apidoc"
	"godwit/coreapi"
	"godwit/kore"
	"godwit/remote"
)

// TestNeighbours: what the doors beside the API serve is described, all of it.
func TestNeighbours(t *testing.T) {
	routes := slices.Concat(coreapi.New(coreapi.Options{}).Routes, kore.New(kore.Options{}).Routes(), remote.New(remote.Options{}).Routes)
	if missing := apidoc.Undocumented(routes); len(missing) > 0 {
		t.Errorf("served and not described: %v", missing)
	}
	if n := len(apidoc.New(apidoc.Options{Routes: routes}).Operations()); n != 108 {
		t.Errorf("%d operations are described", n)
	}
}
