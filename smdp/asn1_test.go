package smdp

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/pki"
	"godwit/rsp"
)

// A variant is one way to run a test of ES9+: the results are the same.
type variant struct {
	asn1  bool      // in the ASN.1 binding
	curve pki.Curve // of the chips that name none
}

func (v variant) of(w *world) *world {
	w.asn1, w.curve = v.asn1, v.curve
	return w
}

// eachVariant runs a test of ES9+ on both engines with JSON and NIST, and then
// in the ASN.1 binding and with brainpool chips.
func eachVariant(t *testing.T, body func(t *testing.T, d *db.DB, v variant)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { body(t, d, variant{false, pki.P256}) })
	t.Run("asn1", func(t *testing.T) { body(t, dbtest.SQLite(t), variant{true, pki.P256}) })
	t.Run("brainpool", func(t *testing.T) { body(t, dbtest.SQLite(t), variant{false, pki.BrainpoolP256r1}) })
}

// askASN1 makes one call, a request or a pointer to one, in the ASN.1 binding.
func askASN1(w *world, in any) any {
	w.t.Helper()
	if v := reflect.ValueOf(in); v.Kind() != reflect.Pointer {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		in = p.Interface()
	}
	status, body := w.postRaw(rsp.PathASN1, rsp.ContentTypeASN1, rsp.AppendASN1Request(nil, in))
	if status != http.StatusOK {
		w.t.Fatalf("HTTP status %d: %s", status, body)
	}
	answer, err := rsp.ParseASN1Response(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// asn1Number reads the number and the function out of the message of a failure
// that came in the ASN.1 binding. The result is an answer of that function.
func asn1Number(message string) (like func(rsp.ResponseHeader) any, number int, ok bool) {
	var function string
	if n, err := fmt.Sscanf(message, "error %d of function %s", &number, &function); n != 2 || err != nil {
		return nil, 0, false
	}
	switch strings.ToUpper(function) {
	case "BF39":
		like = func(h rsp.ResponseHeader) any { return &rsp.InitiateAuthenticationResponse{Header: h} }
	case "BF3B":
		like = func(h rsp.ResponseHeader) any { return &rsp.AuthenticateClientResponse{Header: h} }
	case "BF3A":
		like = func(h rsp.ResponseHeader) any { return &rsp.GetBoundProfilePackageResponse{Header: h} }
	case "BF41":
		like = func(h rsp.ResponseHeader) any { return &rsp.CancelSessionES9Response{Header: h} }
	}
	return like, number, like != nil
}

// numberOf returns the number that stands for a status code in a function of the
// ASN.1 binding. rsp holds the table, against the module.
func numberOf(t *testing.T, like func(rsp.ResponseHeader) any, code string) int {
	t.Helper()
	c, err := rsp.ParseStatusCode(code)
	if err != nil {
		t.Fatal(err)
	}
	der := rsp.AppendASN1Response(nil, like(rsp.Refuse(c, "").Header()))
	return int(der[len(der)-1])
}
