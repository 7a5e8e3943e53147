package web

import (
	"net/url"
	"testing"

	"pgregory.net/rapid"
)

// TestPlainHost holds the quick look at hosts against the thorough one: what it
// lets through, a URL holds as it is.
func TestPlainHost(t *testing.T) {
	for _, plain := range []string{"localhost", "sim.example.net:8443", "127.0.0.1:80", "A-1"} {
		if !plainHost(plain) {
			t.Errorf("%q takes the long way", plain)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9.:\-]{0,12}`), rapid.String()).Draw(t, "host")
		if !plainHost(s) {
			return
		}
		if u, err := url.Parse("http://" + s + "/v1/Sims"); err != nil || u.Host != s {
			t.Fatalf("%q is no host: %v", s, err)
		}
	})
}
