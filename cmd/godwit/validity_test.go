package main

import (
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/trust"
)

// TestServerWhoseCertificatesEnd starts servers whose certificates end soon and
// have ended: the one says so and works, the other says what to do, and works when
// that was done.
func TestServerWhoseCertificatesEnd(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	made := func(ago time.Time, hosts ...string) {
		t.Helper()
		set, err := trust.NewTest(testSet, hosts, ago)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Save(filepath.Join(data, "pki"), true); err != nil {
			t.Fatal(err)
		}
	}
	made(time.Now().AddDate(-3, 0, 10), "localhost")
	p := startServerIn(t, data)
	const words = "a certificate of this server expires soon"
	if !p.says(words) || !p.says("certificate=\"SM-DP+ TLS\"") {
		t.Errorf("nothing is said of a certificate that ends in ten days:\n%s", p.output)
	}
	response, err := http.Get(p.credentials.BaseURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	m, _ := p.set().Member(trust.NIST)
	found := regexp.MustCompile(`godwit_certificate_expiry_timestamp_seconds{ci="nist",role="SM-DP\+ TLS",set="test"} (\S+)`).FindSubmatch(metrics)
	if found == nil {
		t.Fatalf("no metric of the TLS certificate in\n%s", metrics)
	}
	if end, err := strconv.ParseFloat(string(found[1]), 64); err != nil || int64(end) != m.Identity.TLS.Certificate.NotAfter.Unix() {
		t.Errorf("the metric says %s, the certificate %d", found[1], m.Identity.TLS.Certificate.NotAfter.Unix())
	}
	p.kill()

	made(time.Now().AddDate(-4, 0, 0), "localhost", "127.0.0.1")
	said, err := program(t.Context(), p.args...).CombinedOutput()
	if err == nil || !strings.Contains(string(said), "`godwit pki issue tls --set test localhost 127.0.0.1`") {
		t.Fatalf("it was to refuse its TLS certificate and say what to do: %v\n%s", err, said)
	}
	godwit(t, "pki", "issue", "tls", "--data", data, "--set", "test", "localhost", "127.0.0.1")
	p.start()
	if text := p.output.String(); strings.Contains(text, words) {
		t.Errorf("it complains of new certificates:\n%s", text)
	}
}

// TestCertificatesEndWhileServing looks at a set as a running server does day by
// day.
func TestCertificatesEndWhileServing(t *testing.T) {
	began := time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC)
	set, err := trust.NewTest(testSet, []string{"localhost"}, began)
	if err != nil {
		t.Fatal(err)
	}
	before := slog.Default()
	defer slog.SetDefault(before)
	for _, tt := range []struct {
		at     time.Time
		errors int
		warns  int
		words  string
	}{
		{began, 0, 0, ""},
		{began.AddDate(3, 0, -61), 0, 0, ""},
		{began.AddDate(3, 0, -59), 0, 2, "godwit pki issue tls"},
		{began.AddDate(3, 0, 1), 2, 0, "godwit pki issue tls"},
		{began.AddDate(10, 0, -30), 2, 4, "godwit pki init"},
		{began.AddDate(10, 0, 1), 6, 0, "godwit pki init"},
	} {
		var said strings.Builder
		slog.SetDefault(slog.New(slog.NewTextHandler(&said, nil)))
		tellValidity(set, tt.at)
		errors, warns := strings.Count(said.String(), "level=ERROR"), strings.Count(said.String(), "level=WARN")
		if errors != tt.errors || warns != tt.warns || !strings.Contains(said.String(), tt.words) {
			t.Errorf("%v: %d errors, %d warnings, want %d, %d and %q:\n%s", tt.at, errors, warns, tt.errors, tt.warns, tt.words, said.String())
		}
		if err := expired(set, tt.at); (err != nil) != (tt.errors > 0) {
			t.Errorf("%v: %v", tt.at, err)
		}
	}
}
