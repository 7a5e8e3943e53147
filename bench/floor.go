package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// A Floor is a server that does for a download what cannot be left out, and
// nothing else: TLS, JSON, three signatures, four verifications (the EUM's is
// remembered), a one-time key, an agreement, and the protection of a package.
// It stores nothing, refuses nothing, and knows no orders. The processor time
// that it takes is the floor that a real SM-DP+ is measured against.
type Floor struct {
	identity *pki.Identity
	roots    *pki.Roots
	profile  []byte
	runs     sync.Map // transaction identifier to *floorRun
	handler  http.Handler
}

type floorRun struct {
	key        *pki.PublicKey
	eid        ident.EID
	signature2 []byte
}

const (
	floorHost           = "localhost"
	floorOID  ident.OID = "2.999.10"
)

// NewFloor makes a floor whose packages have the given size, with a test CI of
// its own.
func NewFloor(packageSize int) (*Floor, *pki.Issuer, error) {
	start := time.Now().Add(-time.Hour)
	ci, err := pki.NewTestCI(pki.P256, pki.Request{Role: pki.CI, Subject: pki.Subject{CommonName: "Godwit bench CI"}, OID: "2.999.1", NotBefore: start})
	if err != nil {
		return nil, nil, err
	}
	identity, err := ci.IssueIdentity(pki.Subject{CommonName: "Godwit bench SM-DP+"}, floorOID, []string{floorHost}, start)
	if err != nil {
		return nil, nil, err
	}
	roots, err := pki.NewRoots(ci.Certificate)
	if err != nil {
		return nil, nil, err
	}
	f := &Floor{identity: identity, roots: roots, profile: make([]byte, packageSize)}
	mux := http.NewServeMux()
	mux.Handle("POST "+rsp.PathES9+rsp.FnInitiateAuthentication, door(f.initiate))
	mux.Handle("POST "+rsp.PathES9+rsp.FnAuthenticateClient, door(f.authenticate))
	mux.Handle("POST "+rsp.PathES9+rsp.FnGetBoundProfilePackage, door(f.bind))
	mux.Handle("POST "+rsp.PathES9+rsp.FnHandleNotification, door(f.notify))
	// The processor time of this process so far, in microseconds.
	mux.HandleFunc("GET /cpu", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, ownCPU().Microseconds()) })
	f.handler = mux
	return f, ci, nil
}

// Serve answers on l until ctx is over.
func (f *Floor) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: f.handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	err := server.Serve(tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{{
			Certificate: [][]byte{f.identity.TLS.Certificate.Raw}, PrivateKey: f.identity.TLS.Key,
		}},
		NextProtos: []string{"http/1.1"},
	}))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// FloorTarget describes the floor at host:port, whose test CI is ci, to [Run].
func FloorTarget(address string, ci *pki.Certificate) Target {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ci.PEM())
	return Target{URL: "https://" + address, Address: floorHost, OID: floorOID, Roots: pool}
}

// ownCPU returns the processor time that this process has used.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// door turns a function of ES9+ into a handler.
func door[In, Out any](function func(*In) (*Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		in := new(In)
		if err := json.Unmarshal(body, in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := function(in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set(rsp.HeaderProtocol, rsp.Protocol)
		if out == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer, err := json.Marshal(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", rsp.ContentType)
		w.Write(answer)
	})
}

func (f *Floor) initiate(q *rsp.InitiateAuthenticationRequest) (*rsp.InitiateAuthenticationResponse, error) {
	id := rsp.NewTransactionID()
	signed := rsp.ServerSigned1{
		TransactionID: id, EUICCChallenge: q.EUICCChallenge, ServerAddress: q.SMDPAddress, ServerChallenge: rsp.NewChallenge(),
	}
	raw, signature, err := signed.Sign(f.identity.Auth.Key)
	if err != nil {
		return nil, err
	}
	return &rsp.InitiateAuthenticationResponse{
		Header: rsp.Succeeded, TransactionID: id, ServerSigned1: raw, ServerSignature1: rsp.AppendSignature(nil, signature),
		CIKeyID:           append([]byte{0x04, 0x14}, f.identity.ID()...),
		ServerCertificate: f.identity.Auth.Certificate.Raw,
	}, nil
}

func (f *Floor) authenticate(q *rsp.AuthenticateClientRequest) (*rsp.AuthenticateClientResponse, error) {
	p, err := rsp.ParseAuthenticateServerResponse(q.AuthenticateServerResponse)
	if err != nil {
		return nil, err
	}
	chain, err := f.roots.VerifyEUICC(p.EUMCertificate, p.EUICCCertificate, f.identity.ID(), time.Now())
	if err != nil {
		return nil, err
	}
	if _, err := p.Verify(chain.EUICC.PublicKey); err != nil {
		return nil, err
	}
	offer := rsp.SMDPSigned2{TransactionID: q.TransactionID}
	raw, signature, err := offer.Sign(f.identity.PB.Key, p.Signature)
	if err != nil {
		return nil, err
	}
	f.runs.Store(q.TransactionID.String(), &floorRun{key: chain.EUICC.PublicKey, eid: chain.EID, signature2: signature})
	return &rsp.AuthenticateClientResponse{
		Header: rsp.Succeeded, TransactionID: q.TransactionID, ProfileMetadata: floorMetadata.Append(nil),
		SMDPSigned2: raw, SMDPSignature2: rsp.AppendSignature(nil, signature), SMDPCertificate: f.identity.PB.Certificate.Raw,
	}, nil
}

var floorMetadata = &rsp.Metadata{ICCID: "89000123456789012341", ServiceProvider: "Godwit", Name: "Floor"}

var errNoRun = errors.New("no such run")

func (f *Floor) run(id rsp.TransactionID) (*floorRun, error) {
	run, ok := f.runs.Load(id.String())
	if !ok {
		return nil, errNoRun
	}
	return run.(*floorRun), nil
}

func (f *Floor) bind(q *rsp.GetBoundProfilePackageRequest) (*rsp.GetBoundProfilePackageResponse, error) {
	run, err := f.run(q.TransactionID)
	if err != nil {
		return nil, err
	}
	p, err := rsp.ParsePrepareDownloadResponse(q.PrepareDownloadResponse)
	if err != nil {
		return nil, err
	}
	signed, err := p.Verify(run.key, run.signature2)
	if err != nil {
		return nil, err
	}
	own, err := pki.GenerateAgreementKey(pki.P256)
	if err != nil {
		return nil, err
	}
	z, err := own.Agree(signed.OneTimeKey)
	if err != nil {
		return nil, err
	}
	host := []byte("floor")
	binding := rsp.Binding{
		TransactionID: q.TransactionID, HostID: host, ServerKey: own.Public(), EUICCKey: signed.OneTimeKey,
		Keys: rsp.DeriveKeys(z[:], host, run.eid), OID: f.identity.OID(), Metadata: floorMetadata.AppendStored(nil), Profile: f.profile,
	}
	bound, err := binding.Append(nil, f.identity.PB.Key)
	if err != nil {
		return nil, err
	}
	return &rsp.GetBoundProfilePackageResponse{Header: rsp.Succeeded, TransactionID: q.TransactionID, BoundProfilePackage: bound}, nil
}

func (f *Floor) notify(q *rsp.HandleNotificationRequest) (*struct{}, error) {
	p, err := rsp.ParsePendingNotification(q.PendingNotification)
	if err != nil {
		return nil, err
	}
	run, err := f.run(p.TransactionID)
	if err != nil {
		return nil, err
	}
	f.runs.Delete(p.TransactionID.String())
	_, err = p.VerifyInstallation(run.key)
	return nil, err
}
