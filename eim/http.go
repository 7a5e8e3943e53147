package eim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"godwit/iot"
	"godwit/rsp"
)

// maxBody bounds requests. The largest lawful ones bring many notifications, some
// kilobytes each.
const maxBody = 256 << 10

// Handler returns the door of ESipa: both bindings, each at its path. The path of
// the ASN.1 binding is that of ES9+ too; [ServesASN1] tells the bodies apart.
// Every result of a function is HTTP status 200 with the result in the body;
// other statuses are about HTTP alone. SGP.32 v1.2, 6.1.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, function := range []string{
		iot.FnGetEimPackage, iot.FnProvideResult, rsp.FnHandleNotification, rsp.FnInitiateAuthentication,
		rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage, rsp.FnCancelSession,
	} {
		mux.Handle("POST "+iot.PathESipa+function, &door{s: s, function: function})
	}
	mux.Handle("POST "+rsp.PathASN1, &door{s: s})
	return mux
}

// ServesASN1 reports whether a body at the path of the ASN.1 binding is one of
// ESipa, by its first octet: messages of ES9+ begin with A2, those of ESipa are
// bare.
func ServesASN1(first byte) bool { return first == 0xBF }

// A door serves one function of the JSON binding, or all of the ASN.1 binding.
type door struct {
	s        *Server
	function string // "" is the ASN.1 binding
}

func (d *door) binding() string {
	if d.function == "" {
		return "asn1"
	}
	return "json"
}

// bodies are buffers for requests: a poll is some thirty octets, and there are
// thousands in a second.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header[headerProtocol] = protocolValue
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		header.Set("Accept-Encoding", "identity")
		http.Error(w, "send the body without a content coding", http.StatusUnsupportedMediaType)
		return
	}
	if !d.takes(r.Header.Get("Content-Type")) {
		http.Error(w, "this binding takes "+d.contentTypes()[0], http.StatusUnsupportedMediaType)
		return
	}
	buffer := bodies.Get().(*[]byte)
	body, status := readBody(r, (*buffer)[:0])
	if status != 0 {
		http.Error(w, "the body could not be read, or is too large", status)
		return
	}
	kept := d.serve(w, r, body)
	if !kept && cap(body) <= 4096 {
		*buffer = body[:0]
		bodies.Put(buffer)
	}
}

// contentTypes are the types of requests that the binding takes, ours first. The
// other one of the ASN.1 binding is written by a peer.
func (d *door) contentTypes() []string {
	if d.function != "" {
		return takenJSON
	}
	return takenASN1
}

var (
	takenASN1 = []string{rsp.ContentTypeASN1, "application/vnd.gsma.esipa.ber-tlv"}
	takenJSON = []string{rsp.ContentType}
)

// takes reports whether a body of a type, or of none, belongs to the binding.
func (d *door) takes(contentType string) bool {
	if contentType == "" {
		return true
	}
	if slices.Contains(d.contentTypes(), contentType) {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return (err == nil || errors.Is(err, mime.ErrInvalidMediaParameter)) && slices.Contains(d.contentTypes(), media)
}

// readBody reads a body into a buffer. The second result is the HTTP status of a
// failure, 0 for none.
func readBody(r *http.Request, into []byte) ([]byte, int) {
	for {
		if len(into) == cap(into) {
			into = append(into, 0)[:len(into)]
		}
		n, err := r.Body.Read(into[len(into):cap(into)])
		into = into[:len(into)+n]
		switch {
		case len(into) > maxBody:
			return nil, http.StatusRequestEntityTooLarge
		case err == io.EOF:
			return into, 0
		case err != nil:
			return nil, http.StatusBadRequest
		}
	}
}

var (
	headerProtocol = http.CanonicalHeaderKey(rsp.HeaderProtocol)
	protocolValue  = []string{iot.Protocol}
)

// serve answers a request and reports whether something may hold on to the body.
func (d *door) serve(w http.ResponseWriter, r *http.Request, body []byte) (kept bool) {
	var request any
	var err error
	if d.function == "" {
		request, err = iot.ParseASN1Request(body)
	} else {
		request, err = iot.ParseJSONRequest(d.function, body)
	}
	ctx := r.Context()
	if err != nil {
		code := int64(0)
		switch {
		case errors.Is(err, iot.ErrMissingEID):
			code = iot.EimMissingEID
		case errors.Is(err, iot.ErrInvalidEID):
			code = iot.EimInvalidEID
		}
		switch request.(type) {
		case *iot.GetEimPackageRequest:
			if code != 0 {
				d.count(iot.FnGetEimPackage, "malformed")
				d.write(w, &iot.GetEimPackageResponse{Error: code})
				return false
			}
		case *iot.ProvideEimPackageResult:
			if code != 0 {
				d.count(iot.FnProvideResult, "malformed")
				d.write(w, &iot.ProvideEimPackageResultResponse{Error: code})
				return false
			}
		}
		d.count("unknown", "malformed")
		http.Error(w, "the body is no request of ESipa: "+err.Error(), http.StatusBadRequest)
		return false
	}
	switch q := request.(type) {
	case *iot.GetEimPackageRequest:
		octets, code, err := d.s.poll(ctx, q.EID, q.StateChanged, r.RemoteAddr)
		if err != nil {
			d.trouble(ctx, w, iot.FnGetEimPackage, err)
			return false
		}
		d.package_(w, octets, code)
		return false
	case *iot.ProvideEimPackageResult:
		answer(d, ctx, w, iot.FnProvideResult, q, d.s.provide)
	case *iot.HandleNotification:
		if err := d.s.notified(ctx, q); err != nil {
			d.trouble(ctx, w, rsp.FnHandleNotification, err)
			return true
		}
		d.count(rsp.FnHandleNotification, "ok")
		w.WriteHeader(http.StatusNoContent)
	case *iot.InitiateAuthenticationRequest:
		answer(d, ctx, w, rsp.FnInitiateAuthentication, q, d.s.initiate)
	case *iot.AuthenticateClientRequest:
		answer(d, ctx, w, rsp.FnAuthenticateClient, q, d.s.authenticate)
	case *iot.GetBoundProfilePackageRequest:
		answer(d, ctx, w, rsp.FnGetBoundProfilePackage, q, d.s.getPackage)
	case *iot.CancelSessionRequest:
		answer(d, ctx, w, rsp.FnCancelSession, q, d.s.cancelSession)
	}
	return true
}

// Answers of polls that carry no package, and what goes with them. There are
// thousands of the same in a second.
var (
	emptyASN1 = iot.AppendASN1Response(nil, &iot.GetEimPackageResponse{Error: iot.EimNoPackage})
	emptyJSON = iot.MarshalJSONResponse(&iot.GetEimPackageResponse{Error: iot.EimNoPackage})

	typeASN1 = []string{rsp.ContentTypeASN1}
	typeJSON = []string{rsp.ContentType}

	emptyPolls = map[string]interface{ Inc() }{
		"asn1": calls.WithLabelValues("asn1", iot.FnGetEimPackage, "nothing"),
		"json": calls.WithLabelValues("json", iot.FnGetEimPackage, "nothing"),
	}
)

// package_ answers a poll.
func (d *door) package_(w http.ResponseWriter, octets []byte, code int64) {
	if octets == nil && code == iot.EimNoPackage {
		emptyPolls[d.binding()].Inc()
		if d.function == "" {
			d.send(w, emptyASN1)
		} else {
			d.send(w, emptyJSON)
		}
		return
	}
	p := &iot.GetEimPackageResponse{Error: code}
	if octets != nil {
		p.Error = 0
		switch octets[1] {
		case 0x51:
			p.EUICCPackage = octets
		case 0x52:
			p.DataRequest = octets
		default:
			p.DownloadTrigger = octets
		}
		d.count(iot.FnGetEimPackage, "package")
	} else {
		d.count(iot.FnGetEimPackage, "refused")
	}
	d.write(w, p)
}

func answer[Q, R any](d *door, ctx context.Context, w http.ResponseWriter, function string, q *Q, do func(context.Context, *Q) (*R, error)) {
	p, err := do(ctx, q)
	if err != nil {
		d.trouble(ctx, w, function, err)
		return
	}
	d.count(function, "ok")
	d.write(w, p)
}

// trouble of our own: the IPA is to keep what it has and come again.
func (d *door) trouble(ctx context.Context, w http.ResponseWriter, function string, err error) {
	d.count(function, "internal")
	if ctx.Err() == nil {
		slog.ErrorContext(ctx, "function failed", "interface", "esipa", "function", function, "err", err)
	}
	w.Header().Set("Retry-After", "5")
	http.Error(w, "try again later", http.StatusServiceUnavailable)
}

func (d *door) count(function, result string) {
	calls.WithLabelValues(d.binding(), function, result).Inc()
}

func (d *door) write(w http.ResponseWriter, p any) {
	if d.function == "" {
		d.send(w, iot.AppendASN1Response(nil, p))
		return
	}
	d.send(w, iot.MarshalJSONResponse(p))
}

func (d *door) send(w http.ResponseWriter, body []byte) {
	header := w.Header()
	if d.function == "" {
		header["Content-Type"] = typeASN1
	} else {
		header["Content-Type"] = typeJSON
	}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.Write(body)
}
