package callback

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twilio/twilio-go/client"
	"pgregory.net/rapid"

	"godwit/db"
)

const testToken = "0123456789abcdef0123456789abcdef"

func testDelivery(t testing.TB, method, rawURL string, form url.Values) delivery {
	t.Helper()
	target, err := parseTarget(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return delivery{url: rawURL, method: method, form: form.Encode(), token: "once", target: target}
}

// TestSign holds the vectors that both official client libraries accept.
func TestSign(t *testing.T) {
	for _, tt := range []struct {
		name, method, url string
		form              url.Values
		requested, want   string
	}{
		{
			"POST", "POST", "https://hooks.example.com/esim?tenant=7#rc=3",
			url.Values{
				"ESimProfileSid": {"HP00000000000000000000000000000001"}, "ESimProfileStatus": {"available"},
				"SimSid": {"HS00000000000000000000000000000001"}, "Eid": {""},
			},
			"https://hooks.example.com/esim?tenant=7", "MrdFXoyZ4Dp2DqsJvEjPeo62x8g=",
		},
		{
			"GET", "GET", "https://hooks.example.com/esim?tenant=7",
			url.Values{"ESimProfileSid": {"HP00000000000000000000000000000001"}, "ESimProfileStatus": {"available"}},
			"https://hooks.example.com/esim?tenant=7&ESimProfileSid=HP00000000000000000000000000000001&ESimProfileStatus=available",
			"gwjYhUXUPGV4QauaoRnTQx4+PBY=",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := newRequest(t.Context(), testDelivery(t, tt.method, tt.url, tt.form), Signing{Token: db.Secret(testToken)}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if got := req.Header.Get("X-Twilio-Signature"); got != tt.want {
				t.Errorf("signature %s, want %s", got, tt.want)
			}
			if got := req.URL.String(); got != tt.requested {
				t.Errorf("requested %s, want %s", got, tt.requested)
			}
		})
	}
}

// TestSignatureIsAccepted asks the official library's validator about requests
// as a receiver sees them.
func TestSignatureIsAccepted(t *testing.T) {
	validator := client.NewRequestValidator(testToken)
	rapid.Check(t, func(t *rapid.T) {
		form := url.Values{}
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Z][A-Za-z]{0,12}`), 0, 6, rapid.ID).Draw(t, "names") {
			form.Set(name, rapid.String().Draw(t, "value"))
		}
		raw := rapid.SampledFrom([]string{"http", "https"}).Draw(t, "scheme") + "://" +
			rapid.SampledFrom([]string{"example.com", "example.com:8080", "user:word@example.com", "[2001:db8::1]:99"}).Draw(t, "host") +
			rapid.StringMatching(`(/[a-zA-Z0-9%._~ é-]{0,8}){0,2}`).Filter(func(s string) bool { _, err := url.PathUnescape(s); return err == nil }).Draw(t, "path") +
			rapid.StringMatching(`(\?[a-z]=[a-z0-9+é日'"<>]{0,5})?(#ct=500)?`).Draw(t, "query")
		target, err := parseTarget(raw)
		if err != nil {
			t.Skip("no URL")
		}
		method := rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method")
		req, err := newRequest(t.Context(), delivery{method: method, form: form.Encode(), target: target}, Signing{Token: db.Secret(testToken)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		// What a receiver puts together from the request line and Host.
		seen := req.URL.Scheme + "://" + req.URL.Host + req.URL.RequestURI()
		if i := strings.IndexFunc(seen, func(c rune) bool { return c >= 0x7f || strings.ContainsRune(` "'<>`, c) }); i >= 0 {
			t.Fatalf("%s: %q cannot stand in a request line, or receivers would escape it", seen, seen[i:])
		}
		params := map[string]string{}
		if method == http.MethodPost {
			for name := range form {
				params[name] = form.Get(name)
			}
		}
		if !validator.Validate(seen, params, req.Header.Get("X-Twilio-Signature")) {
			t.Fatalf("%s %s with %v is refused", method, seen, params)
		}
	})
}

func TestLimits(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	usual := defaultLimits
	for _, tt := range []struct {
		name, url string
		want      limits
		attempts  int
	}{
		{"none", "https://h/p", usual, 14},
		{"all", "https://h/p#ct=2000&rt=3000&tt=4000&rc=3", limits{ms(2000), ms(3000), ms(4000), 3}, 4},
		{"no repetition", "https://h/p#rc=0", limits{usual.connect, usual.read, usual.total, 0}, 1},
		{"out of range", "https://h/p#ct=99&rt=15001&tt=0&rc=6", usual, 14},
		{"no numbers", "https://h/p#ct=a&rc=-1", usual, 14},
		{"another vendor's", "https://h/p#cbs=kore", usual, 14},
		{"no query", "https://h/p#%zz;;", usual, 14},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target, err := parseTarget(tt.url)
			if err != nil {
				if tt.name == "no query" {
					return // refused as a URL
				}
				t.Fatal(err)
			}
			if target.limits != tt.want || target.attempts() != tt.attempts {
				t.Errorf("limits %+v, %d attempts", target.limits, target.attempts())
			}
		})
	}
}

func TestCheckURL(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://example.com": true, "http://10.0.0.1:99/x?y=z#rc=1": true, "HTTPS://example.com/": true,
		"": false, "example.com": false, "/path": false, "ftp://example.com": false, "https://": false, "https:///x": false,
		"http:example.com": false, "javascript:alert(1)": false, "https://[::1": false, "http://:80/": false,
	} {
		if err := CheckURL("CallbackUrl", raw); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", raw, err, ok)
		}
	}
	for method, want := range map[string]string{"": "POST", "get": "GET", "Post": "POST", "PUT": "", "HEAD": ""} {
		got, err := CheckMethod("CallbackMethod", method)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("method %q: %q, %v", method, got, err)
		}
	}
}

func TestWait(t *testing.T) {
	for attempt := range 12 {
		want := waits[min(max(attempt, 1), len(waits))-1]
		if got := wait(attempt); got < want*4/5 || got > want*6/5 {
			t.Errorf("after attempt %d: %v, want about %v", attempt, got, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"https://u:p@h:1/p?q#ct=1&rc=5", "http://h", "//h", "https://h/%zz", "http://[::1]:1/ "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		target, err := parseTarget(raw)
		if err != nil {
			return
		}
		if CheckURL("u", raw) != nil {
			t.Fatal("taken although it is refused")
		}
		if target.url.Fragment != "" || target.url.User != nil || target.endpoint == "" || target.attempts() < 1 {
			t.Fatalf("%+v", target)
		}
		req, err := newRequest(t.Context(), delivery{method: "GET", form: "A=b", target: target}, Signing{Token: db.Secret("x")}, time.Now())
		if err != nil {
			return
		}
		if strings.Contains(req.URL.RequestURI(), "#") || req.URL.Host == "" {
			t.Fatalf("requests %s of %s", req.URL.RequestURI(), req.URL.Host)
		}
	})
}
