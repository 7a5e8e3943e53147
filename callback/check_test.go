package callback

import (
	"net/netip"
	"testing"
)

// TestCheck: what can never be called is refused when it is given, not when it
// is due.
func TestCheck(t *testing.T) {
	s := New(nil, Options{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, AllowHosts: []string{"127.0.0.1:8000", "192.168.7.7"}})
	for _, tt := range []struct {
		name, url string
		ok        bool
	}{
		{"none", "", true},
		{"a name", "https://hooks.example.com/x", true},
		{"a public address", "http://93.184.216.34/", true},
		{"no URL", "hooks.example.com", false},
		{"another scheme", "ftp://hooks.example.com/", false},
		{"loopback", "http://127.0.0.1:9000/", false},
		{"loopback at a port that is allowed", "http://127.0.0.1:8000/", true},
		{"a host that is allowed", "http://192.168.7.7:1234/", true},
		{"a private address", "http://192.168.1.1/", false},
		{"a network that is allowed", "http://10.1.2.3/", true},
		{"its neighbour", "http://10.2.2.3/", false},
		{"loopback of IPv6", "http://[::1]/", false},
		{"IPv4 in IPv6", "http://[::ffff:127.0.0.1]/", false},
		{"the metadata service of clouds", "http://169.254.169.254/latest", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.Check("CallbackUrl", tt.url); (err == nil) != tt.ok {
				t.Errorf("Check(%q) = %v, want ok %v", tt.url, err, tt.ok)
			}
		})
	}
}
