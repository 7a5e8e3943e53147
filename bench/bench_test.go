package bench

import (
	"net"
	"testing"

	"godwit/ident"
)

// TestFloor makes real downloads from the floor, with connections kept and not.
func TestFloor(t *testing.T) {
	floor, ci, err := NewFloor(12000)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- floor.Serve(t.Context(), l) }()
	maker, err := NewMaker(ci, "89049032")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	target := FloorTarget(net.JoinHostPort(floorHost, port), ci.Certificate)
	for _, keep := range []bool{true, false} {
		downloads := make([]Download, 12)
		for i := range downloads {
			chip, err := maker.Chip()
			if err != nil {
				t.Fatal(err)
			}
			downloads[i] = Download{Chip: chip, MatchingID: ident.NewMatchingID()}
		}
		result := Run(t.Context(), target, downloads, 3, keep, nil)
		if result.Errors > 0 || result.Downloads != len(downloads) {
			t.Fatalf("keep %v: %d of %d downloads, first error: %v", keep, result.Downloads, len(downloads), result.FirstErr)
		}
		if result.Percentile(0.5) <= 0 || result.Percentile(0.5) > result.Percentile(0.99) {
			t.Errorf("percentiles %v, %v", result.Percentile(0.5), result.Percentile(0.99))
		}
	}
	select {
	case err := <-served:
		t.Fatalf("the floor ended: %v", err)
	default:
	}
}
