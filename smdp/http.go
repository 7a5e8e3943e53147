package smdp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"godwit/rsp"
)

// maxBody bounds requests. The largest lawful one is authenticateClient with
// long certificates: some ten kilobytes.
const maxBody = 128 << 10

// malformed refuses what is not what it should be.
func malformed(format string, args ...any) *rsp.Failure {
	return rsp.Refuse(rsp.ParameterInvalid, format, args...)
}

// Handler returns the doors of the listener: ES9+ in both bindings and ES2+.
// Every result of a function is HTTP status 200 with the result in the body;
// other statuses are about HTTP alone. SGP.22 v2.5, 6.3 and 6.5.
func (l *Listener) Handler() http.Handler {
	mux := http.NewServeMux()
	es9 := func(name string, h http.HandlerFunc) { mux.HandleFunc("POST "+rsp.PathES9+name, h) }
	es9(rsp.FnInitiateAuthentication, jsonFunction("es9plus", rsp.FnInitiateAuthentication, l.initiateAuthentication))
	es9(rsp.FnAuthenticateClient, jsonFunction("es9plus", rsp.FnAuthenticateClient, l.authenticateClient))
	es9(rsp.FnGetBoundProfilePackage, jsonFunction("es9plus", rsp.FnGetBoundProfilePackage, l.getBoundProfilePackage))
	es9(rsp.FnCancelSession, jsonFunction("es9plus", rsp.FnCancelSession, l.cancelSession))
	es9(rsp.FnHandleNotification, func(w http.ResponseWriter, r *http.Request) {
		var q rsp.HandleNotificationRequest
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); err != nil && !tooLarge {
			// Cut short on its way: the LPA is to keep it and come again.
			http.Error(w, "the body could not be read", http.StatusBadRequest)
			return
		}
		if err != nil || json.Unmarshal(body, &q) != nil {
			// Nothing that can be read: 204 all the same, or the LPA would send it
			// for ever.
			count("es9plus", rsp.FnHandleNotification, malformed("body"))
			acknowledge(w)
			return
		}
		l.notified(w, r, &q)
	})
	mux.HandleFunc("POST "+rsp.PathASN1, l.asn1)
	l.es2Doors(mux)
	return transport(mux)
}

// transport says on every answer which protocol is spoken, and refuses bodies
// under a content coding. That is trouble of transport also where notifications
// are taken: acknowledged unread, one would be lost. RFC 9110, 8.4.
func transport(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(rsp.HeaderProtocol, rsp.Protocol)
		if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			w.Header().Set("Accept-Encoding", "identity")
			http.Error(w, "send the body without a content coding", http.StatusUnsupportedMediaType)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func acknowledge(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }

// readJSON reads a request body, or answers and returns false.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	if ct := r.Header.Get("Content-Type"); ct != "" {
		// The parameters do not matter: JSON is UTF-8, whatever they say.
		if media, _, err := mime.ParseMediaType(ct); err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || media != rsp.ContentType {
			http.Error(w, "the JSON binding takes application/json", http.StatusUnsupportedMediaType)
			return false
		}
	}
	body, ok := readBody(w, r)
	if !ok {
		return false
	}
	if err := json.Unmarshal(body, into); err != nil {
		http.Error(w, "the body is not the JSON of this function: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return body, true
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return nil, false
	}
	http.Error(w, "the body could not be read", http.StatusBadRequest)
	return nil, false
}

// jsonFunction serves a function of ES9+ in the JSON binding.
func jsonFunction[Q, R any](door, name string, call func(context.Context, *Q) (*R, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if !readJSON(w, r, &q) {
			return
		}
		answer, err := call(r.Context(), &q)
		settle(r.Context(), door, name, err)
		var out any = answer
		if err != nil {
			out = struct {
				Header rsp.ResponseHeader `json:"header"`
			}{rsp.HeaderFor(err)}
		}
		writeJSON(w, r, out)
	}
}

func writeJSON(w http.ResponseWriter, r *http.Request, out any) {
	body, err := json.Marshal(out)
	if err != nil {
		slog.ErrorContext(r.Context(), "encode answer", "route", r.Pattern, "err", err)
		body = []byte(`{"header":{"functionExecutionStatus":{"status":"Failed","statusCodeData":{"subjectCode":"8.10","reasonCode":"4.2"}}}}`)
	}
	w.Header().Set("Content-Type", rsp.ContentType)
	// Otherwise a body of this size would go out in chunks, and in more TLS
	// records than it needs.
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// settle counts a function's result and logs trouble of our own, which the peer
// hears of as "execution error" only.
func settle(ctx context.Context, door, name string, err error) {
	count(door, name, err)
	if err == nil {
		slog.DebugContext(ctx, "function done", "interface", door, "function", name)
		return
	}
	if f, ok := rsp.AsFailure(err); ok {
		slog.DebugContext(ctx, "function refused", "interface", door, "function", name, "code", f.StatusCode.String(), "why", f.Message)
		return
	}
	if ctx.Err() == nil {
		slog.ErrorContext(ctx, "function failed", "interface", door, "function", name, "err", err)
	}
}

// notified takes a notification and acknowledges it, unless storing it failed:
// then the LPA is to keep it and come again.
func (l *Listener) notified(w http.ResponseWriter, r *http.Request, q *rsp.HandleNotificationRequest) {
	err := l.handleNotification(r.Context(), q)
	if unheard, ok := errors.AsType[*ignoredError](err); ok {
		slog.DebugContext(r.Context(), "notification ignored", "err", unheard)
		count("es9plus", rsp.FnHandleNotification, malformed("ignored"))
		acknowledge(w)
		return
	}
	settle(r.Context(), "es9plus", rsp.FnHandleNotification, err)
	if err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	acknowledge(w)
}

// asn1 serves all functions of ES9+ in the ASN.1 binding. SGP.22 v2.5, 6.6.
func (l *Listener) asn1(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	request, err := rsp.ParseASN1Request(body)
	if err != nil {
		http.Error(w, "the body is no request of the ASN.1 binding: "+err.Error(), http.StatusBadRequest)
		return
	}
	ctx := r.Context()
	var answer any
	switch q := request.(type) {
	case *rsp.InitiateAuthenticationRequest:
		answer = asn1Answer(ctx, rsp.FnInitiateAuthentication, q, l.initiateAuthentication,
			func(h rsp.ResponseHeader) *rsp.InitiateAuthenticationResponse {
				return &rsp.InitiateAuthenticationResponse{Header: h}
			})
	case *rsp.AuthenticateClientRequest:
		answer = asn1Answer(ctx, rsp.FnAuthenticateClient, q, l.authenticateClient,
			func(h rsp.ResponseHeader) *rsp.AuthenticateClientResponse {
				return &rsp.AuthenticateClientResponse{Header: h}
			})
	case *rsp.GetBoundProfilePackageRequest:
		answer = asn1Answer(ctx, rsp.FnGetBoundProfilePackage, q, l.getBoundProfilePackage,
			func(h rsp.ResponseHeader) *rsp.GetBoundProfilePackageResponse {
				return &rsp.GetBoundProfilePackageResponse{Header: h}
			})
	case *rsp.CancelSessionES9Request:
		answer = asn1Answer(ctx, rsp.FnCancelSession, q, l.cancelSession,
			func(h rsp.ResponseHeader) *rsp.CancelSessionES9Response {
				return &rsp.CancelSessionES9Response{Header: h}
			})
	case *rsp.HandleNotificationRequest:
		l.notified(w, r, q)
		return
	default:
		http.Error(w, "the function is not one of an SM-DP+", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", rsp.ContentTypeASN1)
	w.Write(rsp.AppendASN1Response(nil, answer))
}

func asn1Answer[Q, R any](ctx context.Context, name string, q *Q, call func(context.Context, *Q) (*R, error), failed func(rsp.ResponseHeader) *R) *R {
	answer, err := call(ctx, q)
	settle(ctx, "es9plus", name, err)
	if err != nil {
		return failed(rsp.HeaderFor(err))
	}
	return answer
}
