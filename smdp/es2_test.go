package smdp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/es2"
	"godwit/ident"
	"godwit/internal/reference"
	"godwit/rsp"
)

// clientCertificate makes a certificate that is its own issuer, as operators
// use them, or one of an authority.
func clientCertificate(t *testing.T, name string, authority *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: authority == nil, BasicConstraintsValid: true,
	}
	parent, signer := template, any(key)
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// operator adds an operator and returns a client of its.
func (w *world) operator(o Operator) (*es2.Client, Operator) {
	w.t.Helper()
	certificate := clientCertificate(w.t, o.Name, nil)
	o.KeyPin = KeyPin(certificate.Leaf)
	if o.Types == nil {
		o.Types = []string{"*"}
	}
	added, err := w.server.AddOperator(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.es2(certificate, o.Requester), added
}

func (w *world) es2(certificate tls.Certificate, requester string) *es2.Client {
	config := clientTLS()
	if certificate.Certificate != nil {
		config.Certificates = []tls.Certificate{certificate}
	}
	return &es2.Client{URL: w.url, Requester: requester, HTTP: es2.NewHTTP(config)}
}

// one makes one call of a function that takes many.
func one[Q, R any](t *testing.T, f func(context.Context, []Q) ([]R, error), q Q) R {
	t.Helper()
	answers, err := f(t.Context(), []Q{q})
	if err != nil {
		t.Fatal(err)
	}
	return answers[0]
}

var issued struct {
	sync.Mutex
	n int
}

// newCall returns a header with a call identifier of its own.
func newCall() rsp.RequestHeader {
	issued.Lock()
	defer issued.Unlock()
	issued.n++
	return rsp.RequestHeader{Call: fmt.Sprint("call-", issued.n)}
}

// SGP.23 4.3.1 to 4.3.4: ideas 41 to 45, over mutual TLS.
func TestES2(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		a, opA := w.operator(Operator{Name: "A", Requester: "op-a"})
		b, _ := w.operator(Operator{Name: "B", Requester: "op-b", Types: []string{"full-usim-isim"}})
		w.stock("minimal-usim", 60)
		eid := w.chip().eid
		other := w.chip().eid
		order := func(t *testing.T, eid ident.EID) ident.ICCID {
			t.Helper()
			got := one(t, a.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim", EID: eid})
			wantCode(t, got.Header, "")
			return got.ICCID
		}
		confirm := func(t *testing.T, q rsp.ConfirmOrder) rsp.ConfirmOrderResult {
			t.Helper()
			q.Header = newCall()
			return one(t, a.ConfirmOrders, q)
		}
		cancel := func(t *testing.T, q rsp.CancelOrder) rsp.ResponseHeader {
			t.Helper()
			q.Header = newCall()
			return one(t, a.CancelOrders, q).Header
		}
		id := func(s string) *ident.MatchingID { m := ident.MatchingID(s); return &m }
		inStock := func(n int) ident.ICCID {
			list, err := w.server.Profiles(t.Context(), Filter{State: Available, Type: "minimal-usim", Limit: n + 1})
			if err != nil || len(list) <= n {
				t.Fatalf("no stock left (%v)", err)
			}
			return list[n].ICCID
		}
		fresh := func() ident.ICCID { return inStock(0) }

		t.Run("downloadOrder", func(t *testing.T) {
			w.t = t
			taken := order(t, "")
			w.wantState(taken, Allocated)
			w.wantState(order(t, eid), Linked)
			for _, tt := range []struct {
				name string
				q    rsp.DownloadOrder
				code string
			}{
				{"by ICCID", rsp.DownloadOrder{ICCID: fresh()}, ""},
				{"by ICCID and type", rsp.DownloadOrder{ICCID: inStock(1) + "F", Type: "minimal-usim"}, ""},
				{"in use", rsp.DownloadOrder{ICCID: taken}, "8.2.1/3.3"},
				{"unknown", rsp.DownloadOrder{ICCID: "89000123456789012341"}, "8.2.1/3.9"},
				{"no number", rsp.DownloadOrder{ICCID: "8900ABC"}, "8.2.1/2.1"},
				{"unknown type", rsp.DownloadOrder{Type: "gold"}, "8.2.5/3.9"},
				{"type without stock", rsp.DownloadOrder{Type: "full-usim-isim"}, "8.2.5/3.7"},
				{"neither", rsp.DownloadOrder{}, "1.6/2.2"},
				{"EID with wrong check digits", rsp.DownloadOrder{Type: "minimal-usim", EID: eid[:30] + "00"}, "8.1.1/2.1"},
				{"short EID", rsp.DownloadOrder{Type: "minimal-usim", EID: "89"}, "8.1.1/2.1"},
			} {
				t.Run(tt.name, func(t *testing.T) {
					tt.q.Header = newCall()
					got := one(t, a.DownloadOrders, tt.q)
					wantCode(t, got.Header, tt.code)
					if (got.ICCID != "") != (tt.code == "") {
						t.Errorf("iccid %q with code %q", got.ICCID, tt.code)
					}
				})
			}
			if got := one(t, b.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"}); true {
				wantCode(t, got.Header, "8.2.5/1.2")
			}
			wantCode(t, one(t, b.DownloadOrders, rsp.DownloadOrder{Header: newCall(), ICCID: fresh()}).Header, "8.2.5/1.2")
			wantCode(t, one(t, a.DownloadOrders, rsp.DownloadOrder{Header: newCall(), ICCID: fresh(), Type: "full-usim-isim"}).Header, "8.2.5/3.8")
		})
		t.Run("confirmOrder", func(t *testing.T) {
			w.t = t
			iccid := order(t, "")
			got := confirm(t, rsp.ConfirmOrder{ICCID: iccid})
			wantCode(t, got.Header, "")
			w.wantState(iccid, Confirmed)
			if len(got.MatchingID) < 20 || got.SMDPAddress != address || got.EID != "" {
				t.Errorf("matching ID %q, address %q, EID %q", got.MatchingID, got.SMDPAddress, got.EID)
			}
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: iccid}).Header, "8.2.1/3.5")

			iccid = order(t, "")
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: iccid, MatchingID: id("lower")}).Header, "8.2.6/2.1")
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: iccid, MatchingID: id("")}).Header, "8.1.1/2.2")
			got = confirm(t, rsp.ConfirmOrder{ICCID: iccid, MatchingID: id("MY-OWN-ID"), Release: true})
			wantCode(t, got.Header, "")
			if got.MatchingID != "MY-OWN-ID" {
				t.Errorf("matching ID %q", got.MatchingID)
			}
			w.wantState(iccid, Released)

			iccid = order(t, eid)
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: iccid, MatchingID: id("MY-OWN-ID")}).Header, "8.2.6/3.3")
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: iccid, EID: other}).Header, "8.1.1/3.10")
			got = confirm(t, rsp.ConfirmOrder{ICCID: iccid})
			wantCode(t, got.Header, "")
			if got.EID != eid {
				t.Errorf("EID %q, want that of the order", got.EID)
			}

			iccid = order(t, "")
			got = confirm(t, rsp.ConfirmOrder{ICCID: iccid, EID: eid, MatchingID: id(""), Release: true})
			wantCode(t, got.Header, "")
			if got.MatchingID != "" || w.profile(iccid).EID != eid {
				t.Errorf("matching ID %q, EID %q", got.MatchingID, w.profile(iccid).EID)
			}
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: fresh()}).Header, "8.2.1/3.5")
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: "89000123456789012341"}).Header, "8.2.1/3.9")
			wantCode(t, confirm(t, rsp.ConfirmOrder{}).Header, "1.6/2.2")
			iccid = order(t, eid)
			// Nobody listens there.
			wantCode(t, confirm(t, rsp.ConfirmOrder{ICCID: iccid, SMDSAddress: "127.0.0.1:1", Release: true}).Header, "8.9/5.1")
			w.wantState(iccid, Linked)
		})
		t.Run("releaseProfile and cancelOrder from each state", func(t *testing.T) {
			reach := map[State]func() ident.ICCID{
				Available: fresh,
				Allocated: func() ident.ICCID { return order(t, "") },
				Linked:    func() ident.ICCID { return order(t, eid) },
				Confirmed: func() ident.ICCID {
					iccid := order(t, "")
					confirm(t, rsp.ConfirmOrder{ICCID: iccid})
					return iccid
				},
				Released: func() ident.ICCID {
					iccid := order(t, "")
					confirm(t, rsp.ConfirmOrder{ICCID: iccid, Release: true})
					return iccid
				},
			}
			run := func(end string) func() ident.ICCID {
				return func() ident.ICCID {
					iccid := order(t, "")
					got := confirm(t, rsp.ConfirmOrder{ICCID: iccid, Release: true})
					s := w.offeredTo(w.chip(), ordered{iccid, got.MatchingID})
					if end == "error" {
						wantCode(t, s.cancel(rsp.CancelUserRejection, nil), "")
						return iccid
					}
					s.download("")
					if end == "installed" {
						s.report(iccid, 0)
					}
					return iccid
				}
			}
			reach[Downloaded], reach[Installed], reach[Failed] = run(""), run("installed"), run("error")
			reach[Unavailable] = func() ident.ICCID {
				iccid := order(t, "")
				wantCode(t, cancel(t, rsp.CancelOrder{ICCID: iccid, Final: rsp.FinalUnavailable}), "")
				return iccid
			}
			for state, make := range reach {
				w.t = t
				iccid := make()
				w.wantState(iccid, state)
				want, code := Released, ""
				if _, ok := state.After(Release); !ok {
					want, code = state, "8.2.1/3.5"
				}
				wantCode(t, one(t, a.ReleaseProfiles, rsp.ReleaseProfile{Header: newCall(), ICCID: iccid}).Header, code)
				w.wantState(iccid, want)
				for _, final := range []string{rsp.FinalAvailable, rsp.FinalUnavailable} {
					iccid := make()
					want, ok := state.After(CancelReturn)
					code := ""
					if final == rsp.FinalUnavailable {
						want, ok = state.After(CancelRetire)
					}
					if !ok {
						want, code = state, "8.2.1/3.5"
					}
					wantCode(t, cancel(t, rsp.CancelOrder{ICCID: iccid, EID: w.profile(iccid).EID, Final: final}), code)
					w.wantState(iccid, want)
				}
			}
		})
		t.Run("cancelOrder refused", func(t *testing.T) {
			w.t = t
			wantCode(t, cancel(t, rsp.CancelOrder{ICCID: "89000123456789012341", Final: rsp.FinalAvailable}), "8.2.1/3.9")
			iccid := order(t, eid)
			got := confirm(t, rsp.ConfirmOrder{ICCID: iccid, Release: true})
			wantCode(t, cancel(t, rsp.CancelOrder{ICCID: iccid, EID: eid, Final: "Gone"}), "8.2/2.1")
			wantCode(t, cancel(t, rsp.CancelOrder{ICCID: iccid, Final: rsp.FinalAvailable}), "8.1.1/2.2")
			wantCode(t, cancel(t, rsp.CancelOrder{ICCID: iccid, EID: other, Final: rsp.FinalAvailable}), "8.1.1/3.10")
			wantCode(t, cancel(t, rsp.CancelOrder{ICCID: iccid, EID: eid, MatchingID: id("WRONG"), Final: rsp.FinalAvailable}), "8.2.6/3.10")
			wantCode(t, cancel(t, rsp.CancelOrder{ICCID: iccid, EID: eid, MatchingID: &got.MatchingID, Final: rsp.FinalAvailable}), "")
			// Nothing of the order is left for the next.
			if p := w.profile(iccid); p.EID != "" || p.MatchingID != "" || p.Operator != "" {
				t.Errorf("after the order: %+v", p)
			}
			wantCode(t, w.chip().start().authenticate(str(got.MatchingID)), "8.2.6/3.8")
		})
		t.Run("operators keep apart", func(t *testing.T) {
			w.t = t
			iccid := order(t, "")
			wantCode(t, one(t, b.DownloadOrders, rsp.DownloadOrder{Header: newCall(), ICCID: iccid}).Header, "8.2.1/1.2")
			wantCode(t, one(t, b.ConfirmOrders, rsp.ConfirmOrder{Header: newCall(), ICCID: iccid}).Header, "8.2.1/1.2")
			wantCode(t, one(t, b.CancelOrders, rsp.CancelOrder{Header: newCall(), ICCID: iccid, Final: rsp.FinalAvailable}).Header, "8.2.1/1.2")
			wantCode(t, one(t, b.ReleaseProfiles, rsp.ReleaseProfile{Header: newCall(), ICCID: iccid}).Header, "8.2.1/1.2")
			w.wantState(iccid, Allocated)
			impostor := *b
			impostor.Requester = "op-a"
			wantCode(t, one(t, impostor.ConfirmOrders, rsp.ConfirmOrder{Header: newCall(), ICCID: iccid}).Header, "1.2/1.2")
			wantCode(t, one(t, a.ConfirmOrders, rsp.ConfirmOrder{ICCID: iccid}).Header, "1.6/2.2") // no call identifier

			// Stock that belongs to A is not for B, and not for the program itself.
			if _, err := w.server.Generate(t.Context(), Range{Type: "full-usim-isim", Owner: opA.ID, ICCID: "898800000000009", IMSI: "001019990000000", Count: 1}, nil); err != nil {
				t.Fatal(err)
			}
			wantCode(t, one(t, b.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "full-usim-isim"}).Header, "8.2.5/3.7")
			wantCode(t, one(t, a.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "full-usim-isim"}).Header, "")
		})
		t.Run("repeated calls", func(t *testing.T) {
			w.t = t
			q := rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"}
			first := one(t, a.DownloadOrders, q)
			again := one(t, a.DownloadOrders, q)
			if first.ICCID == "" || again.ICCID != first.ICCID {
				t.Errorf("%s, then %s", first.ICCID, again.ICCID)
			}
			c := rsp.ConfirmOrder{Header: newCall(), ICCID: first.ICCID, Release: true}
			x, y := one(t, a.ConfirmOrders, c), one(t, a.ConfirmOrders, c)
			if x.MatchingID == "" || x.MatchingID != y.MatchingID || y.Header.Err() != nil {
				t.Errorf("%+v, then %+v", x, y)
			}
			// A refusal is repeated too.
			bad := rsp.DownloadOrder{Header: newCall(), Type: "gold"}
			wantCode(t, one(t, a.DownloadOrders, bad).Header, "8.2.5/3.9")
			wantCode(t, one(t, a.DownloadOrders, bad).Header, "8.2.5/3.9")
			// The same identifier with another request is no retry.
			q.EID = eid
			wantCode(t, one(t, a.DownloadOrders, q).Header, "1.6/2.1")
			// Another operator's identifiers are its own.
			if got := one(t, b.DownloadOrders, rsp.DownloadOrder{Header: c.Header, Type: "gold"}); got.Header.Err() == nil {
				t.Error("an operator gets the answer of another")
			}
		})
		t.Run("many at once", func(t *testing.T) {
			w.t = t
			w.stock("minimal-usim", 250)
			var calls []rsp.DownloadOrder
			for range 250 {
				calls = append(calls, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"})
			}
			calls = append(calls, calls[0], rsp.DownloadOrder{Header: newCall(), Type: "gold"})
			answers, err := w.server.DownloadOrders(t.Context(), LocalOperator, calls)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[ident.ICCID]bool{}
			for i, answer := range answers[:250] {
				wantCode(t, answer.Header, "")
				if seen[answer.ICCID] {
					t.Fatalf("call %d gets %s, which is another's", i, answer.ICCID)
				}
				seen[answer.ICCID] = true
			}
			if answers[250].ICCID != answers[0].ICCID {
				t.Error("a retry in the same batch takes another profile")
			}
			wantCode(t, answers[251].Header, "8.2.5/3.9")
			again, err := w.server.DownloadOrders(t.Context(), LocalOperator, calls)
			if err != nil || again[7].ICCID != answers[7].ICCID {
				t.Errorf("repeated: %v, %s, want %s", err, again[7].ICCID, answers[7].ICCID)
			}
		})
	})
}

// Idea 45: who is not known is not let in.
func TestES2Certificates(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	refused := func(t *testing.T, client *es2.Client) {
		t.Helper()
		_, err := client.DownloadOrders(t.Context(), []rsp.DownloadOrder{{Header: newCall(), Type: "minimal-usim"}})
		if err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("error %v, want HTTP status 403", err)
		}
	}
	known, _ := w.operator(Operator{Name: "Known", Requester: "known"})
	wantCode(t, one(t, known.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"}).Header, "8.2.5/3.7")
	refused(t, w.es2(tls.Certificate{}, "known"))
	refused(t, w.es2(clientCertificate(t, "Known", nil), "known"))

	authority := clientCertificate(t, "Authority", nil)
	pool := x509.NewCertPool()
	pool.AddCert(authority.Leaf)
	listener, err := w.server.Listen(Trust{Identities: identities(), Operators: pool})
	if err != nil {
		t.Fatal(err)
	}
	w.url, w.client = serve(t, listener)
	if _, err := w.server.AddOperator(t.Context(), Operator{Name: "Named", Requester: "named", CertName: "op.example.com", Types: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	named := w.es2(clientCertificate(t, "op.example.com", &authority), "named")
	wantCode(t, one(t, named.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"}).Header, "8.2.5/3.7")
	refused(t, w.es2(clientCertificate(t, "op.example.com", nil), "named")) // the name alone says nothing
	refused(t, w.es2(clientCertificate(t, "other.example.com", &authority), "named"))
}

// The published client certificate of an operator.
func TestES2WithPublishedCertificate(t *testing.T) {
	pair, err := tls.X509KeyPair(reference.File(t, "sgp26", "mno", "CERT_MNO_ECDSA_NIST_reissued.pem"), reference.File(t, "sgp26", "mno", "SK_MNO_ECDSA_NIST.pem"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, dbtest.SQLite(t))
	if _, err := w.server.AddOperator(t.Context(), Operator{Name: "MNO", Requester: "mno", KeyPin: KeyPin(pair.Leaf), Types: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	w.stock("minimal-usim", 1)
	wantCode(t, one(t, w.es2(pair, "mno").DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"}).Header, "")
}

// Idea 46: an operator that is down hears everything later, in order.
func TestProgressToOperator(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var mu sync.Mutex
		var heard []rsp.ProgressInfo
		down := true
		system := httptest.NewServer(es2.Receiver(func(_ context.Context, info rsp.ProgressInfo) error {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return errors.New("down")
			}
			heard = append(heard, info)
			return nil
		}))
		defer system.Close()
		w := newWorld(t, d)
		w.clock.Stop() // an operator rests for a second only
		a, _ := w.operator(Operator{Name: "A", Requester: "op-a", Progress: system.URL})
		w.stock("minimal-usim", 1)
		c := w.chip()
		got := one(t, a.DownloadOrders, rsp.DownloadOrder{Header: newCall(), Type: "minimal-usim"})
		id := one(t, a.ConfirmOrders, rsp.ConfirmOrder{Header: newCall(), ICCID: got.ICCID, Release: true}).MatchingID
		s := w.offeredTo(c, ordered{got.ICCID, id})
		drain := func() {
			t.Helper()
			if _, err := w.server.out.drain(t.Context(), `receiver <> 'local'`, 100, leaseAbroad); err != nil {
				t.Fatal(err)
			}
		}
		s.download("")
		drain()
		s.report(got.ICCID, 0)
		drain()
		mu.Lock()
		down = false
		mu.Unlock()
		drain() // still resting
		if len(heard) != 0 {
			t.Fatalf("%d reports came while the operator rested", len(heard))
		}
		w.clock.Forward(10 * time.Second)
		drain()
		w.clock.Forward(10 * time.Second)
		drain()
		mu.Lock()
		defer mu.Unlock()
		if len(heard) != 2 || heard[0].Point != rsp.PointDownload || heard[1].Point != rsp.PointInstallation {
			t.Fatalf("heard %+v, want download and installation", heard)
		}
		if i := heard[1]; i.ICCID != got.ICCID || i.EID != c.eid || i.Type != "minimal-usim" || len(i.ResultData) == 0 || i.Header.Call == heard[0].Header.Call {
			t.Errorf("heard %+v", i)
		}
		if err := d.Read(t.Context(), func(q db.Query) error {
			left, err := db.All(t.Context(), q, db.Only[int], `select count(*) from outbox`)
			if err == nil && left[0] != 0 {
				t.Errorf("%d messages are left", left[0])
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}
