package smdp

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"godwit/db/dbtest"
	"godwit/rsp"
)

// opening is the request that begins a download, with members added.
func (c *chip) opening(more map[string]any) []byte {
	c.w.t.Helper()
	members := map[string]any{"smdpAddress": address, "euiccChallenge": rsp.NewChallenge(), "euiccInfo1": c.info1.Append(nil)}
	for name, value := range more {
		members[name] = value
	}
	body, err := json.Marshal(members)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return body
}

// What LPAs may write into the header of a request, and what they leave out.
func TestRequestHeaders(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	for _, tt := range []struct {
		name   string
		header map[string]string
		want   int
	}{
		{"nothing", nil, 200},
		{"version 2.0.0", map[string]string{"X-Admin-Protocol": "gsma/rsp/v2.0.0", "Content-Type": "application/json"}, 200},
		{"version 2.5.0 and its user agent", map[string]string{"X-Admin-Protocol": "gsma/rsp/v2.5.0", "User-Agent": "gsma-rsp-lpad", "Content-Type": "application/json"}, 200},
		{"version 3.1.0", map[string]string{"X-Admin-Protocol": "gsma/rsp/v3.1.0", "Content-Type": "application/json"}, 200},
		{"a protocol that is none", map[string]string{"X-Admin-Protocol": "yes", "Content-Type": "application/json"}, 200},
		{"charset", map[string]string{"Content-Type": "application/json; charset=UTF-8"}, 200},
		{"capitals", map[string]string{"Content-Type": "Application/JSON"}, 200},
		{"a parameter without value", map[string]string{"Content-Type": "application/json; charset"}, 200},
		{"identity coding", map[string]string{"Content-Type": "application/json", "Content-Encoding": "identity"}, 200},
		{"expects to go on", map[string]string{"Content-Type": "application/json", "Expect": "100-continue"}, 200},
		{"text", map[string]string{"Content-Type": "text/plain"}, 415},
		{"the other binding's type", map[string]string{"Content-Type": rsp.ContentTypeASN1}, 415},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+rsp.PathES9+rsp.FnInitiateAuthentication,
				bytes.NewReader(w.chip().opening(nil)))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range tt.header {
				request.Header.Set(name, value)
			}
			answer, err := w.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != tt.want || (tt.want == 200) != bytes.Contains(body, []byte(rsp.Success)) {
				t.Errorf("HTTP status %d %s (%v), want %d", answer.StatusCode, body, err, tt.want)
			}
			if tt.want == 200 && (answer.Header.Get(rsp.HeaderProtocol) != rsp.Protocol || answer.Header.Get("Content-Type") != rsp.ContentType) {
				t.Errorf("header %v", answer.Header)
			}
		})
	}
}

// A body in any wrapping that HTTP knows is understood or refused, in time.
func TestBodies(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	server, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	body := string(w.chip().opening(nil))
	const path = rsp.PathES9 + rsp.FnInitiateAuthentication
	var squeezed bytes.Buffer
	z := gzip.NewWriter(&squeezed)
	io.WriteString(z, body)
	z.Close()
	chunks := fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 10, body[:10], len(body)-10, body[10:])
	for _, tt := range []struct {
		name, head, body string
		want             int
	}{
		{"HTTP/1.0", "POST " + path + " HTTP/1.0\r\nContent-Length: " + fmt.Sprint(len(body)), body, 200},
		{"HTTP/1.0 without a length", "POST " + path + " HTTP/1.0", body, 400},
		{"chunks", "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nTransfer-Encoding: chunked", chunks, 200},
		{"broken chunks", "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nTransfer-Encoding: chunked", "zz\r\n" + body, 400},
		{"broken chunks of a notification", "POST " + rsp.PathES9 + rsp.FnHandleNotification + " HTTP/1.1\r\nHost: " + address +
			"\r\nTransfer-Encoding: chunked", "2\r\n{}\r\nzz\r\n", 400},
		{"another host's name", "POST " + path + " HTTP/1.1\r\nHost: other.example.com\r\nContent-Length: " + fmt.Sprint(len(body)), body, 200},
		{"gzip", "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nContent-Encoding: gzip\r\nContent-Length: " + fmt.Sprint(squeezed.Len()), squeezed.String(), 415},
		{"gzip of a notification", "POST " + rsp.PathES9 + rsp.FnHandleNotification + " HTTP/1.1\r\nHost: " + address +
			"\r\nContent-Encoding: gzip\r\nContent-Length: " + fmt.Sprint(squeezed.Len()), squeezed.String(), 415},
		{"gzip that is not said to be", "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nContent-Length: " + fmt.Sprint(squeezed.Len()), squeezed.String(), 400},
		{"a length of many gigabytes", "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nContent-Length: 99999999999", strings.Repeat(" ", maxBody+1), 413},
		{"deep nesting", "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nContent-Length: 100000", strings.Repeat("[", 100000), 400},
		{"GET", "GET " + path + " HTTP/1.1\r\nHost: " + address, "", 405},
		{"two lengths", "POST " + path + " HTTP/1.1\r\nHost: " + address + "\r\nContent-Length: 1\r\nContent-Length: 2", body, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tls.Dial("tcp", server.Host, clientTLS())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, tt.head+"\r\n\r\n"+tt.body); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			content, err := io.ReadAll(answer.Body)
			if answer.Header.Get(rsp.HeaderProtocol) == "" && !strings.Contains(tt.name, "two lengths") { // net/http refuses that one itself
				t.Error("the answer does not say which protocol it is of")
			}
			if answer.StatusCode != tt.want || tt.want == 200 && !bytes.Contains(content, []byte(rsp.Success)) {
				t.Errorf("HTTP status %d %s (%v), want %d", answer.StatusCode, content, err, tt.want)
			}
		})
	}
	t.Run("an endless body", func(t *testing.T) {
		w.t = t
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, zeros{})
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", rsp.ContentType)
		answer, err := w.client.Do(request)
		if err != nil {
			if _, broken := errors.AsType[*url.Error](err); !broken {
				t.Fatal(err)
			}
			return // the server has hung up, which is an answer too
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("HTTP status %d, want 413", answer.StatusCode)
		}
	})
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil }

// An LPA of version 3 says more than version 2 knows; it is answered as one of
// version 2, without a member that only version 3 has.
func TestVersion3Client(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t))
	c, o := w.chip(), w.order(wish{})
	c.info1.SVN, c.info2.SVN = rsp.Version{3, 1, 0}, rsp.Version{3, 1, 0}
	later := map[string]any{
		"lpaRspCapability": "gAIHgA==", "euiccCiPKIdentifierToBeUsedV3": []string{"x"}, "lpaVersion": "3.1.0",
		"header": map[string]any{"functionRequesterIdentifier": "1.2.3", "functionCallIdentifier": "TX-1"}, "useMatchingIdForAcr": true,
	}
	ask := func(function string, members map[string]any, into any, allowed ...string) {
		t.Helper()
		for name, value := range later {
			if _, taken := members[name]; !taken {
				members[name] = value
			}
		}
		status, body := w.post(rsp.PathES9+function, members)
		var got map[string]json.RawMessage
		if status != 200 || json.Unmarshal(body, &got) != nil || json.Unmarshal(body, into) != nil {
			t.Fatalf("%s: HTTP status %d %s", function, status, body)
		}
		delete(got, "header")
		for _, name := range allowed {
			if _, ok := got[name]; !ok {
				t.Errorf("%s answers without %s: %s", function, name, body)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("%s answers with more than version 2 has: %v", function, got)
		}
	}
	s := &session{chip: c, challenge: rsp.NewChallenge(), initiated: new(rsp.InitiateAuthenticationResponse)}
	ask(rsp.FnInitiateAuthentication, map[string]any{"smdpAddress": address, "euiccChallenge": s.challenge, "euiccInfo1": c.info1.Append(nil)}, s.initiated,
		"transactionId", "serverSigned1", "serverSignature1", "euiccCiPKIdToBeUsed", "serverCertificate")
	s.offered = new(rsp.AuthenticateClientResponse)
	ask(rsp.FnAuthenticateClient, map[string]any{
		"transactionId": s.initiated.TransactionID, "authenticateServerResponse": s.answer(str(o.id), nil), "deleteNotificationForDc": "",
	}, s.offered, "transactionId", "profileMetadata", "smdpSigned2", "smdpSignature2", "smdpCertificate")
	got := new(rsp.GetBoundProfilePackageResponse)
	ask(rsp.FnGetBoundProfilePackage, map[string]any{"transactionId": s.initiated.TransactionID, "prepareDownloadResponse": s.prepare("")}, got,
		"transactionId", "boundProfilePackage")
	w.wantProfile(s.open(got.BoundProfilePackage), o.iccid)
	s.report(o.iccid, 0)
	w.wantState(o.iccid, Installed)
}
