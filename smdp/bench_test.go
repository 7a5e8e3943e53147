package smdp

import (
	"context"
	"crypto/x509"
	"net/http/httptest"
	"testing"

	"godwit/bench"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
)

// BenchmarkDownload makes whole downloads over TLS connections that are kept,
// four at a time, on SQLite with every write on the disk. The load and the
// server share the process: the server's part is in the profile under
// net/http.(*conn).serve and db.(*group).
func BenchmarkDownload(b *testing.B) {
	d := dbtest.SQLite(b)
	server, err := Open(b.Context(), d, Config{Addresses: []string{address}, Progress: func(context.Context, []rsp.ProgressInfo) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	if err := server.AddType(b.Context(), ProfileType{ID: "full", Template: saip.FullUSIM().Bytes(), Metadata: Metadata{ServiceProvider: "Bench", Name: "Bench"}}); err != nil {
		b.Fatal(err)
	}
	listener, err := server.Listen(Trust{Identities: identities()[:1]})
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewUnstartedServer(listener.Handler())
	if s.TLS, err = listener.TLS(); err != nil {
		b.Fatal(err)
	}
	s.StartTLS()
	defer s.Close()
	if _, err := server.Generate(b.Context(), Range{Type: "full", ICCID: "8988", IMSI: "001010000000000", Count: b.N}, nil); err != nil {
		b.Fatal(err)
	}
	maker, err := bench.NewMaker(authorities()[pki.P256][0], "89049033")
	if err != nil {
		b.Fatal(err)
	}
	downloads := make([]bench.Download, b.N)
	for i := range downloads {
		id := ident.NewMatchingID()
		chip, err := maker.Chip()
		if err != nil {
			b.Fatal(err)
		}
		order, err := server.DownloadOrders(b.Context(), LocalOperator, []rsp.DownloadOrder{{Type: "full"}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := server.ConfirmOrders(b.Context(), LocalOperator, []rsp.ConfirmOrder{{ICCID: order[0].ICCID, MatchingID: &id, Release: true}}); err != nil {
			b.Fatal(err)
		}
		downloads[i] = bench.Download{Chip: chip, MatchingID: id}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities()[pki.P256][0].Certificate.PEM())
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- server.Run(ctx) }()
	b.ResetTimer()
	result := bench.Run(b.Context(), bench.Target{URL: s.URL, Address: address, OID: "2.999.10", Roots: pool}, downloads, 4, true, nil)
	b.StopTimer()
	if result.Errors > 0 {
		b.Error(result.FirstErr)
	}
	b.ReportMetric(result.PerSecond(), "downloads/s")
	stop()
	<-done
}
