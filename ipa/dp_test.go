package ipa_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/tlv"
)

var quiet = log.New(io.Discard, "", 0)

// A server is an SM-DP+ with one order, which is used up by an installation that
// was reported.
type server struct {
	*authority
	testing.TB

	mu       sync.Mutex
	metadata *rsp.Metadata
	profile  []byte
	code     string // confirmation code
	used     bool   // the order
	retry    bool   // an interrupted installation does not end the order
	refuse   map[string]rsp.StatusCode

	results []*rsp.InstallationResult
	other   []rsp.NotificationMetadata
	seen    map[int64]bool // notifications

	run *dpRun
}

type dpRun struct {
	id               rsp.TransactionID
	challenge, sign2 []byte
}

// offer makes an order for the nth profile.
func (s *server) offer(n int) ident.ICCID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata, s.profile = profile(n)
	s.used = false
	return s.metadata.ICCID
}

// reset forgets what was reported.
func (s *server) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results, s.other, s.seen = nil, nil, nil
}

// ServeHTTP is ES9+ in the JSON binding.
func (s *server) ServeHTTP(out http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // the caller is gone
	}
	function := strings.TrimPrefix(q.URL.Path, rsp.PathES9)
	request := map[string]any{
		rsp.FnInitiateAuthentication: &rsp.InitiateAuthenticationRequest{}, rsp.FnAuthenticateClient: &rsp.AuthenticateClientRequest{},
		rsp.FnGetBoundProfilePackage: &rsp.GetBoundProfilePackageRequest{}, rsp.FnHandleNotification: &rsp.HandleNotificationRequest{},
		rsp.FnCancelSession: &rsp.CancelSessionES9Request{},
	}[function]
	if err := json.Unmarshal(body, request); err != nil {
		s.Errorf("%s: %v", q.URL.Path, err)
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	answer, err := s.answer(request)
	if err != nil {
		if _, ok := rsp.AsFailure(err); !ok {
			s.Errorf("%s: %v", function, err)
		}
		answer = map[string]any{"header": rsp.HeaderFor(err)}
	}
	if answer == nil {
		out.WriteHeader(http.StatusNoContent)
		return
	}
	_ = json.NewEncoder(out).Encode(answer) // the caller may be gone
}

func (s *server) answer(request any) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.chip.EUICC.PublicKey
	switch q := request.(type) {
	case *rsp.InitiateAuthenticationRequest:
		if code, ok := s.refuse[rsp.FnInitiateAuthentication]; ok {
			return nil, &rsp.Failure{StatusCode: code}
		}
		s.run = &dpRun{id: rsp.NewTransactionID(), challenge: rsp.NewChallenge()}
		if q.Address() != dpAddress {
			return nil, fmt.Errorf("asked for %s", q.Address())
		}
		raw, signature, err := (&rsp.ServerSigned1{
			TransactionID: s.run.id, EUICCChallenge: q.EUICCChallenge, ServerAddress: dpAddress, ServerChallenge: s.run.challenge,
		}).Sign(s.dp.Auth.Key)
		return &rsp.InitiateAuthenticationResponse{
			Header: rsp.Succeeded, TransactionID: s.run.id, ServerSigned1: raw, ServerSignature1: rsp.AppendSignature(nil, signature),
			CIKeyID: tlv.Append(nil, tlv.OctetString, s.ci.Certificate.SubjectKeyID), ServerCertificate: s.dp.Auth.Certificate.Raw,
		}, err
	case *rsp.AuthenticateClientRequest:
		p, err := rsp.ParseAuthenticateServerResponse(q.AuthenticateServerResponse)
		if err != nil {
			return nil, err
		}
		if _, err := p.Verify(key); err != nil {
			return nil, err
		}
		if s.used {
			return nil, &rsp.Failure{StatusCode: rsp.MatchingIDRefused}
		}
		raw, signature, err := (&rsp.SMDPSigned2{TransactionID: s.run.id, CodeRequired: s.code != ""}).Sign(s.dp.PB.Key, p.Signature)
		s.run.sign2 = signature
		return &rsp.AuthenticateClientResponse{
			Header: rsp.Succeeded, TransactionID: s.run.id, ProfileMetadata: s.metadata.Append(nil), SMDPSigned2: raw,
			SMDPSignature2: rsp.AppendSignature(nil, signature), SMDPCertificate: s.dp.PB.Certificate.Raw,
		}, err
	case *rsp.GetBoundProfilePackageRequest:
		return s.bind(q)
	case *rsp.CancelSessionES9Request:
		return &rsp.CancelSessionES9Response{Header: rsp.Succeeded}, nil
	case *rsp.HandleNotificationRequest:
		return nil, s.take(q.PendingNotification)
	}
	return nil, fmt.Errorf("a request of type %T", request)
}

func (s *server) bind(q *rsp.GetBoundProfilePackageRequest) (any, error) {
	p, err := rsp.ParsePrepareDownloadResponse(q.PrepareDownloadResponse)
	if err != nil {
		return nil, err
	}
	signed, err := p.Verify(s.chip.EUICC.PublicKey, s.run.sign2)
	if err != nil {
		return nil, err
	}
	if s.code != "" && !rsp.CheckCode(rsp.HashCode(s.code), s.run.id, signed.HashedCode) {
		return nil, &rsp.Failure{StatusCode: rsp.CodeRefused}
	}
	key, err := pki.GenerateAgreementKey(s.dp.Curve())
	if err != nil {
		return nil, err
	}
	z, err := key.Agree(signed.OneTimeKey)
	if err != nil {
		return nil, err
	}
	binding := rsp.Binding{
		TransactionID: s.run.id, HostID: []byte("host"), ServerKey: key.Public(), EUICCKey: signed.OneTimeKey,
		Keys: rsp.DeriveKeys(z[:], []byte("host"), testEID), OID: testOID, Metadata: s.metadata.AppendStored(nil), Profile: s.profile,
	}
	der, err := binding.Append(nil, s.dp.PB.Key)
	return &rsp.GetBoundProfilePackageResponse{Header: rsp.Succeeded, TransactionID: s.run.id, BoundProfilePackage: der}, err
}

// take takes a notification, once.
func (s *server) take(der []byte) error {
	p, err := rsp.ParsePendingNotification(der)
	if err != nil {
		return err
	}
	// A server may hear of a thing twice; the number says that it is the same.
	if s.seen[p.Metadata.Sequence] {
		return nil
	}
	if s.seen == nil {
		s.seen = map[int64]bool{}
	}
	s.seen[p.Metadata.Sequence] = true
	if !p.Installation {
		n, err := p.VerifyOther(s.chip.EUICC.PublicKey)
		if err == nil {
			s.other = append(s.other, *n)
		}
		return err
	}
	result, err := p.VerifyInstallation(s.chip.EUICC.PublicKey)
	if err != nil {
		return err
	}
	s.results = append(s.results, result)
	s.used = s.used || result.Error == 0 || !s.retry
	return nil
}

// installed returns how many installations were reported: good and bad ones.
func (s *server) installed() (good, bad int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.results {
		if r.Error == 0 {
			good++
		} else {
			bad++
		}
	}
	return good, bad
}

// events returns how often an event was reported.
func (s *server) events(e rsp.Event) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := range s.other {
		if s.other[i].Event == e {
			n++
		}
	}
	return n
}

var errLost = errors.New("lost on the way")
