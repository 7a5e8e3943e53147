package account

import (
	"testing"
	"time"
)

// A ULID begins with its time: later ones sort behind, and other programs read
// the time from them.
func TestULID(t *testing.T) {
	at := time.UnixMilli(0x0123_4567_89ab)
	one, other, later := newULID(at), newULID(at), newULID(at.Add(time.Millisecond))
	// 0x0123456789ab with leading zero bits up to 50, five bits to a digit.
	if one[:10] != "014d2pf2db" || one[:10] != other[:10] || one == other || len(one) != 26 || later <= one {
		t.Errorf("%s, %s, %s", one, other, later)
	}
}
