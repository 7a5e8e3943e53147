package lpa

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"godwit/ident"
	"godwit/rsp"
	"godwit/tlv"
)

// maxAnswer is how long an answer of a server may be: a profile package and its
// base64.
const maxAnswer = 8 << 20

// A ProtocolError is an answer that is none of SGP.22.
type ProtocolError struct {
	URL    string
	Status int
	Text   string
}

// Unexpected returns the error of an answer, with the beginning of its body.
func Unexpected(url string, status int, body []byte) *ProtocolError {
	text := strings.ToValidUTF8(string(body[:min(len(body), 200)]), "?")
	return &ProtocolError{url, status, strings.Join(strings.Fields(text), " ")}
}

func (e *ProtocolError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s answered HTTP status %d", e.URL, e.Status)
	}
	return fmt.Sprintf("%s answered HTTP status %d: %s", e.URL, e.Status, e.Text)
}

// A server is one SM-DP+ or SM-DS as the LPA calls it. Functions of an SM-DS have
// the paths of ES9+ too: that is how the LPAs in the field call them.
type server struct {
	lpa       *LPA
	address   string
	relay     Relay     // goes in place of the connection
	oid       ident.OID // of the certificate that it authenticated with
	trustedCI [][]byte  // CI keys of the chip; nil accepts what the HTTP client accepts
	leaf      []byte    // TLS certificate of the last answer
}

// call makes one function call and reads the answer into answer, a pointer to
// an answer type with a header. A function that did not succeed is a
// [*rsp.Failure].
func call[A any](ctx context.Context, s *server, function string, request any, answer *A, header func(*A) rsp.ResponseHeader) error {
	if s.lpa.ASN1 {
		_, body, err := s.post(ctx, rsp.PathASN1, rsp.ContentTypeASN1, rsp.AppendASN1Request(nil, request))
		if err != nil {
			return err
		}
		p, err := rsp.ParseASN1Response(body)
		if err != nil {
			return err
		}
		a, ok := p.(*A)
		if !ok {
			return mismatch("the answer is one of another function: %T", p)
		}
		*answer = *a
		return header(answer).Err()
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	_, body, err = s.post(ctx, rsp.PathES9+function, rsp.ContentType, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return header(answer).Err()
}

// post sends a request and returns status and body of the answer.
func (s *server) post(ctx context.Context, path, contentType string, body []byte) (int, []byte, error) {
	url := "https://" + s.address + path
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	q.Header.Set("Content-Type", contentType)
	q.Header.Set("User-Agent", rsp.UserAgent)
	q.Header.Set(rsp.HeaderProtocol, rsp.Protocol)
	client := s.lpa.HTTP
	if client == nil {
		return 0, nil, errors.New("the LPA has no HTTP client")
	}
	p, err := client.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer p.Body.Close()
	out, err := io.ReadAll(io.LimitReader(p.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of %s: %w", url, err)
	}
	if err := s.checkCI(p); err != nil {
		return 0, nil, err
	}
	switch {
	case len(out) > maxAnswer:
		return 0, nil, &ProtocolError{url, p.StatusCode, "the answer is too long"}
	case p.StatusCode != http.StatusOK && p.StatusCode != http.StatusNoContent:
		return 0, nil, Unexpected(url, p.StatusCode, out)
	}
	return p.StatusCode, out, nil
}

// checkCI holds the certificate of the connection to the CIs that the chip
// knows. It is checked for each answer, because assistants with different chips
// share connections. SGP.22 v2.5, 2.6.6.1.
func (s *server) checkCI(p *http.Response) error {
	if s.trustedCI == nil || s.lpa.AnyCI {
		return nil
	}
	s.leaf = nil
	if p.TLS == nil || len(p.TLS.PeerCertificates) == 0 {
		return mismatch("the connection to %s is not protected by TLS", s.address)
	}
	s.leaf = p.TLS.PeerCertificates[0].Raw
	id := p.TLS.PeerCertificates[0].AuthorityKeyId
	if !slices.ContainsFunc(s.trustedCI, func(trusted []byte) bool { return bytes.Equal(trusted, id) }) {
		return mismatch("the TLS certificate of %s is of a CI that the eUICC does not know: key %X", s.address, id)
	}
	return nil
}

func (s *server) initiateAuthentication(ctx context.Context, challenge, info1 []byte) (*Proof, error) {
	q := &rsp.InitiateAuthenticationRequest{SMDPAddress: s.address, EUICCChallenge: challenge, EUICCInfo1: info1}
	if s.relay != nil {
		return s.relay.InitiateAuthentication(ctx, q)
	}
	p := &Proof{}
	err := call(ctx, s, rsp.FnInitiateAuthentication, q, &p.InitiateAuthenticationResponse, func(p *rsp.InitiateAuthenticationResponse) rsp.ResponseHeader { return p.Header })
	return p, err
}

func (s *server) authenticateClient(ctx context.Context, id rsp.TransactionID, response []byte) (*Offered, error) {
	q := &rsp.AuthenticateClientRequest{TransactionID: id, AuthenticateServerResponse: response}
	if s.relay != nil {
		return s.relay.AuthenticateClient(ctx, q)
	}
	p := &Offered{}
	err := call(ctx, s, rsp.FnAuthenticateClient, q, &p.AuthenticateClientResponse, func(p *rsp.AuthenticateClientResponse) rsp.ResponseHeader { return p.Header })
	return p, err
}

func (s *server) events(ctx context.Context, id rsp.TransactionID, response []byte) (*rsp.AuthenticateClientES11Response, error) {
	p := &rsp.AuthenticateClientES11Response{}
	q := &rsp.AuthenticateClientRequest{TransactionID: id, AuthenticateServerResponse: response}
	err := call(ctx, s, rsp.FnAuthenticateClient, q, p, func(p *rsp.AuthenticateClientES11Response) rsp.ResponseHeader { return p.Header })
	return p, err
}

func (s *server) getBoundProfilePackage(ctx context.Context, id rsp.TransactionID, response []byte) (*rsp.GetBoundProfilePackageResponse, error) {
	p := &rsp.GetBoundProfilePackageResponse{}
	q := &rsp.GetBoundProfilePackageRequest{TransactionID: id, PrepareDownloadResponse: response}
	if s.relay != nil {
		return s.relay.GetBoundProfilePackage(ctx, q)
	}
	err := call(ctx, s, rsp.FnGetBoundProfilePackage, q, p, func(p *rsp.GetBoundProfilePackageResponse) rsp.ResponseHeader { return p.Header })
	return p, err
}

func (s *server) cancelSession(ctx context.Context, id rsp.TransactionID, response []byte) error {
	p := &rsp.CancelSessionES9Response{}
	q := &rsp.CancelSessionES9Request{TransactionID: id, CancelSessionResponse: response}
	if s.relay != nil {
		return s.relay.CancelSession(ctx, q)
	}
	return call(ctx, s, rsp.FnCancelSession, q, p, func(p *rsp.CancelSessionES9Response) rsp.ResponseHeader { return p.Header })
}

// handleNotification delivers a notification. Only status 204 means that the
// server has it: a proxy's cheerful 200 must not make the chip forget.
func (s *server) handleNotification(ctx context.Context, notification []byte) error {
	q := &rsp.HandleNotificationRequest{PendingNotification: notification}
	path, contentType, body := rsp.PathASN1, rsp.ContentTypeASN1, []byte(nil)
	if s.lpa.ASN1 {
		body = rsp.AppendASN1Request(nil, q)
	} else {
		path, contentType = rsp.PathES9+rsp.FnHandleNotification, rsp.ContentType
		var err error
		if body, err = json.Marshal(q); err != nil {
			return fmt.Errorf("write request: %w", err)
		}
	}
	status, out, err := s.post(ctx, path, contentType, body)
	if err != nil {
		return err
	}
	if status != http.StatusNoContent {
		return Unexpected("https://" + s.address + path, status, out)
	}
	return nil
}

// keyID returns the content of the OCTET STRING euiccCiPKIdToBeUsed.
func keyID(der []byte) ([]byte, error) {
	e, err := tlv.ParseTag(der, tlv.OctetString)
	if err != nil {
		return nil, fmt.Errorf("read euiccCiPKIdToBeUsed: %w", err)
	}
	return e.Value, nil
}
