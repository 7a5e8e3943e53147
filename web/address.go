package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// An Address tells under which address clients reach a door. Links in answers
// are built from it, and clients follow them as they are.
type Address struct {
	// URL is the configured address. When it is empty, a request's own Host
	// header says how its client reached us.
	URL string
	// Proxies lists the networks whose Forwarded and X-Forwarded headers are
	// believed. They matter only when URL is empty.
	Proxies []netip.Prefix
}

// ParsePublicURL checks a configured public address: absolute, http or https,
// without query. It returns the address without a slash at its end.
func ParsePublicURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", fmt.Errorf("a public URL is absolute and begins with http:// or https://, not %q", s)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("a public URL is scheme, host and path only, not %q", s)
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// Of returns the public address for one request, without a slash at its end.
func (a Address) Of(r *http.Request) string {
	if a.URL != "" {
		return strings.TrimSuffix(a.URL, "/")
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if a.believes(r.RemoteAddr) {
		proto, forwarded := forwarded(r.Header)
		if proto == "http" || proto == "https" {
			scheme = proto
		}
		if isHost(forwarded) {
			host = forwarded
		}
	}
	if !isHost(host) { // HTTP/1.0 knows no Host: where the client has reached us, its next request will, too
		host = "localhost"
		if here, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && isHost(here.String()) {
			host = here.String()
		}
	}
	return scheme + "://" + host
}

func (a Address) believes(remote string) bool {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	for _, p := range a.Proxies {
		if p.Contains(addr.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// forwarded returns what the proxy nearest to the client says about the
// request: RFC 7239, else the older headers.
func forwarded(h http.Header) (proto, host string) {
	if v := h.Get("Forwarded"); v != "" {
		first, _, _ := strings.Cut(v, ",")
		for pair := range strings.SplitSeq(first, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			value = strings.Trim(value, `"`)
			switch strings.ToLower(name) {
			case "proto":
				proto = strings.ToLower(value)
			case "host":
				host = value
			}
		}
		return proto, host
	}
	first := func(name string) string {
		v, _, _ := strings.Cut(h.Get(name), ",")
		return strings.TrimSpace(v)
	}
	return strings.ToLower(first("X-Forwarded-Proto")), first("X-Forwarded-Host")
}

// isHost reports whether s may stand as host and port in a URL. Nearly all are
// names or addresses of plain letters, which need no closer look.
func isHost(s string) bool {
	if plainHost(s) {
		return true
	}
	if s == "" || strings.ContainsAny(s, "/?#@\\ \"<>") {
		return false
	}
	u, err := url.Parse("http://" + s)
	return err == nil && u.Host == s
}

// plainHost reports whether s is letters, digits, dots and hyphens, and perhaps
// a port.
func plainHost(s string) bool {
	name, port, hasPort := strings.Cut(s, ":")
	if name == "" || hasPort && (port == "" || len(port) > 5) {
		return false
	}
	for i := range len(name) {
		c := name[i] | 0x20
		if (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') && name[i] != '.' && name[i] != '-' {
			return false
		}
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	return true
}
