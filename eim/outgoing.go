package eim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"godwit/rsp"
)

const (
	callTime = 60 * time.Second
	// maxAnswer bounds what is read of an SM-DP+: a profile package and its base64.
	maxAnswer = 8 << 20
)

// newClient makes the client for calls of SM-DP+s. Their addresses come from
// activation codes and from devices: the connection is made by Config.Dial, which
// refuses what may not be called, and whoever answers must show a certificate
// for the name below a CI that is trusted. Redirects are not followed.
func (s *Server) newClient() *http.Client {
	dial := s.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	return &http.Client{
		Timeout: callTime,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     90 * time.Second,
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				plain, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				conn := tls.Client(plain, &tls.Config{
					MinVersion: tls.VersionTLS12, ServerName: host,
					// Roles and names are those of SGP.22, which the library does not
					// know: verified below, for resumed sessions too.
					InsecureSkipVerify: true,
					VerifyConnection:   func(state tls.ConnectionState) error { return s.trusts(host, state.PeerCertificates) },
				})
				if err := conn.HandshakeContext(ctx); err != nil {
					return nil, errors.Join(fmt.Errorf("TLS with %s: %w", host, err), plain.Close())
				}
				return conn, nil
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// trusts judges the certificates that an SM-DP+ showed.
func (s *Server) trusts(host string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the server showed no certificate")
	}
	_, err := s.cfg.Roots.VerifyTLS(0, chain[0].Raw, host, s.cfg.Now())
	if err == nil || s.cfg.Extra == nil {
		return err
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, other := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: s.cfg.Extra, Intermediates: between, CurrentTime: s.cfg.Now()})
	if other != nil {
		return errors.Join(err, other)
	}
	return nil
}

// post sends a request of ES9+ and returns status and body of the answer.
func (s *Server) post(ctx context.Context, address, function string, request any) (int, []byte, error) {
	if err := rsp.CheckAddress(address); err != nil {
		return 0, nil, err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return 0, nil, fmt.Errorf("write %s: %w", function, err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+rsp.PathES9+function, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	q.Header.Set("Content-Type", rsp.ContentType)
	q.Header.Set("User-Agent", rsp.UserAgent)
	q.Header.Set(rsp.HeaderProtocol, rsp.Protocol)
	p, err := s.client.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(p.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of %s: %w", address, err)
	}
	if len(answer) > maxAnswer {
		return 0, nil, fmt.Errorf("the answer of %s is too long", address)
	}
	return p.StatusCode, answer, nil
}

// call makes a call of ES9+. A function that did not succeed is a [*rsp.Failure].
func call[A any](ctx context.Context, s *Server, address, function string, request any, header func(*A) rsp.ResponseHeader) (*A, error) {
	status, body, err := s.post(ctx, address, function, request)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s answered HTTP status %d", address, status)
	}
	answer := new(A)
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", address, err)
	}
	return answer, header(answer).Err()
}
