package bench

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"godwit/ident"
	"godwit/iot"
	"godwit/rsp"
)

// TestPollCountsWhatIsNoEmptyAnswer polls a server that answers some eUICCs with
// something else.
func TestPollCountsWhatIsNoEmptyAnswer(t *testing.T) {
	eids := []ident.EID{"89049032123451234512345678901235", "89049032000000000000000000000066"}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asn1 := r.URL.Path == rsp.PathASN1
		var request any
		if asn1 {
			request, err = iot.ParseASN1Request(body)
		} else {
			request, err = iot.ParseJSONRequest(iot.FnGetEimPackage, body)
		}
		q, ok := request.(*iot.GetEimPackageRequest)
		if err != nil || !ok {
			t.Errorf("%s %q: %v", r.URL.Path, body, err)
			return
		}
		answer := &iot.GetEimPackageResponse{Error: iot.EimNoPackage}
		if q.EID == eids[1] {
			answer.Error = iot.EimEIDNotFound
		}
		if asn1 {
			w.Write(iot.AppendASN1Response(nil, answer))
		} else {
			w.Write(iot.MarshalJSONResponse(answer))
		}
	}))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	for _, which := range []string{PollASN1, PollJSON, PollBoth} {
		e := EIM{URL: s.URL, Roots: pool, EIDs: eids[:1]}
		poll := func(during time.Duration) *ReadResult {
			r, err := e.Poll(t.Context(), which, 2, during)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := long(poll)
		if r.Requests == 0 || r.Errors != 0 {
			t.Errorf("%s: %d polls, %d errors, the first %v", which, r.Requests, r.Errors, r.FirstErr)
		}
		e.EIDs = eids[1:]
		if r = long(poll); r.Requests != 0 || r.Errors == 0 {
			t.Errorf("%s: %d polls count for an eUICC that is not known, %d errors", which, r.Requests, r.Errors)
		}
	}
}
