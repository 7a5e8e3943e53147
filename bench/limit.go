package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// Limits is what the machine can do at best. Times are of one operation on one
// core.
type Limits struct {
	FloorCPU     float64 `json:"floor_cpu_ms"`     // processor time of one download at the floor, TLS kept
	Sign         float64 `json:"sign_us"`          // ECDSA P-256
	Verify       float64 `json:"verify_us"`        // ECDSA P-256
	Agreement    float64 `json:"ecdh_us"`          // one-time key and ECDH P-256
	TLSHandshake float64 `json:"tls_handshake_us"` // full handshake, both sides together
	Package      float64 `json:"package_us"`       // protection and signature of the package
}

// Primitives measures single operations in this process, each for about a
// fifth of a second. packageSize is the profile package's, in octets.
func Primitives(packageSize int) (*Limits, error) {
	key, err := pki.GenerateKey(pki.P256)
	if err != nil {
		return nil, err
	}
	public, err := pki.PublicKeyOf(key)
	if err != nil {
		return nil, err
	}
	message := make([]byte, 400)
	signature, err := pki.Sign(key, message)
	if err != nil {
		return nil, err
	}
	peer, err := pki.GenerateAgreementKey(pki.P256)
	if err != nil {
		return nil, err
	}
	binding := &rsp.Binding{
		TransactionID: rsp.NewTransactionID(), HostID: []byte("limit"), ServerKey: peer.Public(), EUICCKey: peer.Public(),
		Keys: &rsp.Keys{}, OID: floorOID, Metadata: floorMetadata.AppendStored(nil), Profile: make([]byte, packageSize),
	}
	l := &Limits{
		Sign: each(func() { _, err = pki.Sign(key, message) }),
		Verify: each(func() {
			if !public.Verify(message, signature) {
				err = fmt.Errorf("a good signature did not verify")
			}
		}),
		Agreement: each(func() {
			var own *pki.AgreementKey
			if own, err = pki.GenerateAgreementKey(pki.P256); err == nil {
				_, err = own.Agree(peer.Public())
			}
		}),
		Package: each(func() { _, err = binding.Append(nil, key) }),
	}
	if err != nil {
		return nil, err
	}
	l.TLSHandshake, err = handshake(floorHost)
	return l, err
}

// each returns how long f takes, in microseconds.
func each(f func()) float64 {
	const span = 200 * time.Millisecond
	f() // not counted: caches and lazy tables
	begin, n := time.Now(), 0
	for time.Since(begin) < span {
		for range 8 {
			f()
		}
		n += 8
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n) / 1000
}

// handshake returns the time of a full TLS handshake over a pipe.
func handshake(host string) (float64, error) {
	floor, ci, err := NewFloor(0)
	if err != nil {
		return 0, err
	}
	server := &tls.Config{Certificates: []tls.Certificate{{
		Certificate: [][]byte{floor.identity.TLS.Certificate.Raw}, PrivateKey: floor.identity.TLS.Key,
	}}}
	client := &tls.Config{
		RootCAs: FloorTarget(host, ci.Certificate).Roots, ServerName: host, CurvePreferences: []tls.CurveID{tls.CurveP256},
	}
	var failed error
	took := each(func() {
		a, b := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(a, server).Handshake() }()
		if err := tls.Client(b, client).Handshake(); err != nil {
			failed = err
		}
		b.Close()
		if err := <-done; err != nil && failed == nil && err != io.EOF {
			failed = err
		}
		a.Close()
	})
	return took, failed
}

// A FloorProcess is a floor in a process of its own, so that its processor
// time can be told from the load generator's.
type FloorProcess struct {
	command *exec.Cmd
	stdin   io.Closer
	target  Target
	maker   *Maker
}

// floorSetup is what the process writes on its first line.
type floorSetup struct {
	Address     string `json:"address"`
	Certificate []byte `json:"certificate"` // of its test CI, PEM
	Key         []byte `json:"key"`
}

// ServeFloor is the body of that process: it writes its set-up to out and
// serves until ctx is over.
func ServeFloor(ctx context.Context, packageSize int, out io.Writer) error {
	floor, ci, err := NewFloor(packageSize)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	key, err := pki.MarshalKey(ci.Key)
	if err != nil {
		return err
	}
	setup := floorSetup{Address: l.Addr().String(), Certificate: ci.Certificate.PEM(), Key: key}
	if err := json.NewEncoder(out).Encode(setup); err != nil {
		return err
	}
	return floor.Serve(ctx, l)
}

// StartFloor starts command, which is to run [ServeFloor] until its standard
// input ends.
func StartFloor(command *exec.Cmd) (*FloorProcess, error) {
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	p := &FloorProcess{command: command, stdin: stdin}
	if err := p.setUp(stdout); err != nil {
		p.Stop()
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	return p, nil
}

func (p *FloorProcess) setUp(stdout io.Reader) error {
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return err
	}
	var setup floorSetup
	if err := json.Unmarshal(line, &setup); err != nil {
		return err
	}
	credential, err := pki.ParseCredential(setup.Certificate, setup.Key)
	if err != nil {
		return err
	}
	ci, err := pki.NewIssuer(credential)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(setup.Address)
	if err != nil {
		return err
	}
	p.target = FloorTarget(net.JoinHostPort(floorHost, port), ci.Certificate)
	p.maker, err = NewMaker(ci, "89049032")
	return err
}

// Stop ends the process.
func (p *FloorProcess) Stop() {
	p.stdin.Close()
	p.command.Wait()
}

// CPU measures the processor time of one download at the floor, in
// milliseconds, over n downloads.
func (p *FloorProcess) CPU(ctx context.Context, n, clients int, keep bool) (float64, error) {
	downloads, err := p.maker.Downloads(n)
	if err != nil {
		return 0, err
	}
	before, err := p.used()
	if err != nil {
		return 0, err
	}
	result := Run(ctx, p.target, downloads, clients, keep, nil)
	if result.Errors > 0 {
		return 0, fmt.Errorf("%d of %d downloads at the floor failed: %w", result.Errors, n, result.FirstErr)
	}
	after, err := p.used()
	if err != nil {
		return 0, err
	}
	return float64((after - before).Microseconds()) / 1000 / float64(n), nil
}

func (p *FloorProcess) used() (time.Duration, error) {
	client := newClient(p.target, false)
	response, err := client.http.Get(p.target.URL + "/cpu")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 64))
	if err != nil || response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the floor's /cpu answers %s: %w", response.Status, err)
	}
	micros, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Duration(micros) * time.Microsecond, err
}

// Downloads makes n chips, each to make one download without a matching ID of
// its own: the caller fills them in where the server asks for one.
func (m *Maker) Downloads(n int) ([]Download, error) {
	downloads := make([]Download, n)
	for i := range downloads {
		chip, err := m.Chip()
		if err != nil {
			return nil, err
		}
		downloads[i] = Download{Chip: chip, MatchingID: ident.MatchingID("BENCH")}
	}
	return downloads, nil
}
