package eim

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/iot"
	"godwit/rsp"
)

// BenchmarkServer measures what a device costs the eIM, without the network: a
// poll that finds nothing, one that gets a package again, a poll for a new package
// with the proved result of it.
func BenchmarkServer(b *testing.B) {
	for _, engine := range []struct {
		name string
		open func(testing.TB) *db.DB
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		b.Run(engine.name, func(b *testing.B) {
			w := newWorld(b, engine.open(b))
			v := w.device()
			v.run()
			door := w.server.Handler()
			ask := func(b *testing.B, q any) any {
				r := httptest.NewRequest(http.MethodPost, rsp.PathASN1, bytes.NewReader(iot.AppendASN1Request(nil, q)))
				r.Header.Set("Content-Type", rsp.ContentTypeASN1)
				a := httptest.NewRecorder()
				door.ServeHTTP(a, r)
				p, err := iot.ParseASN1Response(a.Body.Bytes())
				if err != nil {
					b.Fatal(err)
				}
				return p
			}
			poll := &iot.GetEimPackageRequest{EID: v.eid}
			fetch := func(b *testing.B) *iot.GetEimPackageResponse {
				p := ask(b, poll).(*iot.GetEimPackageResponse)
				if p.Error != 0 {
					b.Fatal(p.Error)
				}
				return p
			}
			b.Run("empty", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					ask(b, poll)
				}
			})
			b.Run("empty and forgotten", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					w.server.idle.drop(v.eid)
					ask(b, poll)
				}
			})
			b.Run("package again", func(b *testing.B) {
				w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidA})
				b.ReportAllocs()
				for b.Loop() {
					fetch(b)
				}
				v.run()
			})
			for _, way := range []string{"verified within", "verified before"} {
				b.Run("writer held by a result, "+way, func(b *testing.B) {
					var held time.Duration
					for b.Loop() {
						b.StopTimer()
						w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidB})
						q := v.handle(fetch(b))
						q.EID = v.eid
						b.StartTimer()
						verifier := w.server.verifier()
						if way == "verified before" {
							var err error
							if verifier, err = w.server.foresee(b.Context(), broughtBy(q)); err != nil {
								b.Fatal(err)
							}
						}
						w.write(func(tx *db.Tx) error {
							began := time.Now()
							defer func() { held += time.Since(began) }()
							return w.server.take(b.Context(), tx, &claim{eid: q.EID, verifier: verifier}, q)
						})
						b.StopTimer()
						v.run()
						b.StartTimer()
					}
					b.ReportMetric(float64(held.Microseconds())/float64(b.N), "held-µs/op")
				})
			}
			b.Run("package and result", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					b.StopTimer()
					w.queue(Task{EID: v.eid, Kind: Enable, ICCID: iccidB})
					b.StartTimer()
					p := fetch(b)
					b.StopTimer()
					q := v.handle(p)
					q.EID = v.eid
					b.StartTimer()
					if a := ask(b, q).(*iot.ProvideEimPackageResultResponse); a.Error != 0 {
						b.Fatal(a.Error)
					}
					b.StopTimer()
					v.run()
					b.StartTimer()
				}
			})
		})
	}
}
