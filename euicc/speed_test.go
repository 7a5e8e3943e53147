package euicc

import (
	"testing"

	"godwit/pki"
	"godwit/rsp"
)

// BenchmarkDownload is a whole download with the server's share in it;
// BenchmarkChip is the chip's share alone.
func BenchmarkDownload(b *testing.B) {
	x := newTester(b, config(pki.P256))
	for n := range b.N {
		x.add(n)
		x.delete(testICCID(n))
		x.clean()
	}
}

// clean removes all notifications.
func (x *tester) clean() {
	for len(x.card.state.Notifications) > 0 {
		x.result(rsp.AppendRemoveNotification(nil, x.card.state.Notifications[0].Metadata.Sequence))
	}
}

func BenchmarkChip(b *testing.B) {
	x := newTester(b, config(pki.P256))
	b.StopTimer()
	for n := range b.N {
		r := x.run(pki.P256)
		r.metadata, r.profile = testMetadata(testICCID(n)), padded(testProfile(x, testICCID(n)), 12000)
		b.StartTimer()
		r.challengeCard()
		b.StopTimer()
		r.authenticate()
		r.prepare(nil)
		units := r.bind().Units()
		b.StartTimer()
		for _, unit := range units {
			r.es10(unit)
		}
		b.StopTimer()
		x.delete(testICCID(n))
		x.clean()
	}
}

// BenchmarkNewMemory is what one more chip costs.
func BenchmarkNewMemory(b *testing.B) {
	cfg := config(pki.P256)
	for b.Loop() {
		if _, err := NewMemory(cfg); err != nil {
			b.Fatal(err)
		}
	}
}
