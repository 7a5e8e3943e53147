package smdp

import (
	"context"
	"fmt"
	"net/http"

	"godwit/rsp"
)

// es2Doors serves ES2+ to operators that are known by their client
// certificates. SGP.22 v2.5, 5.3.
func (l *Listener) es2Doors(mux *http.ServeMux) {
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnDownloadOrder, es2Function(l, rsp.FnDownloadOrder, l.downloadOrders,
		func(h rsp.ResponseHeader) rsp.DownloadOrderResult { return rsp.DownloadOrderResult{Header: h} }))
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnConfirmOrder, es2Function(l, rsp.FnConfirmOrder, l.confirmHere,
		func(h rsp.ResponseHeader) rsp.ConfirmOrderResult { return rsp.ConfirmOrderResult{Header: h} }))
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnReleaseProfile, es2Function(l, rsp.FnReleaseProfile, l.releaseProfiles,
		func(h rsp.ResponseHeader) rsp.ReleaseProfileResult { return rsp.ReleaseProfileResult{Header: h} }))
	mux.HandleFunc("POST "+rsp.PathES2+rsp.FnCancelOrder, es2Function(l, rsp.FnCancelOrder, l.cancelOrders,
		func(h rsp.ResponseHeader) rsp.CancelOrderResult { return rsp.CancelOrderResult{Header: h} }))
}

// confirmHere is ConfirmOrder of an operator at this listener: the eUICCs that it
// has in mind trust what this listener shows.
func (l *Listener) confirmHere(ctx context.Context, op *Operator, calls []rsp.ConfirmOrder) ([]rsp.ConfirmOrderResult, error) {
	answers, err := l.confirmOrders(ctx, op, calls)
	for i := range answers {
		if answers[i].SMDPAddress == l.Address() {
			answers[i].SMDPAddress = l.address()
		}
	}
	return answers, err
}

func es2Function[Q, R any](l *Listener, name string, call func(context.Context, *Operator, []Q) ([]R, error), failed func(rsp.ResponseHeader) R) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "ES2+ asks for the operator's client certificate", http.StatusForbidden)
			return
		}
		certificate := r.TLS.PeerCertificates[0]
		if now := l.cfg.Now(); now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
			const date = "2006-01-02 15:04 MST"
			http.Error(w, fmt.Sprintf("the client certificate is valid from %s to %s, and it is %s here",
				certificate.NotBefore.UTC().Format(date), certificate.NotAfter.UTC().Format(date), now.UTC().Format(date)), http.StatusForbidden)
			return
		}
		op, err := l.operatorOf(r.Context(), certificate, l.trust.Operators)
		if err != nil {
			settle(r.Context(), "es2plus", name, err)
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		if op == nil {
			http.Error(w, "the client certificate is not that of an operator of this server", http.StatusForbidden)
			return
		}
		var q Q
		if !readJSON(w, r, &q) {
			return
		}
		answers, err := call(r.Context(), op, []Q{q})
		if err != nil {
			settle(r.Context(), "es2plus", name, err)
			writeJSON(w, r, failed(rsp.HeaderFor(err)))
			return
		}
		writeJSON(w, r, answers[0])
	}
}
