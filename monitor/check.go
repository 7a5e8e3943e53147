package monitor

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"godwit/fault"
)

// A Patch makes a monitor or changes what it names of one.
type Patch struct {
	Type          *string
	Topics        *[]string
	URL           *string
	Method        *string
	Format        *string
	Headers       *[]string // "Name: value"
	AuthToken     *string
	Persistent    *bool
	BatchSize     *int64
	BatchDuration *int64
	Compression   *string
	SchemaType    *string
	Schema        *string
	Description   *string
	Status        *string
}

func set[T any](to, of *T) {
	if of != nil {
		*to = *of
	}
}

func word(s *string) string {
	if s == nil {
		return ""
	}
	return strings.ToLower(strings.TrimSpace(*s))
}

// apply changes what the patch names, and refuses what cannot be.
func (s *Store) apply(p Patch, m *Monitor) error {
	was := *m
	if err := p.applyType(m); err != nil {
		return err
	}
	if p.Topics != nil {
		topics, err := s.topics(*p.Topics)
		if err != nil {
			return err
		}
		m.Topics = topics
	}
	set(&m.Persistent, p.Persistent)
	set(&m.BatchSize, p.BatchSize)
	set(&m.BatchDuration, p.BatchDuration)
	set(&m.Description, p.Description)
	switch {
	case len(m.Topics) == 0:
		return fault.Field("topics", "must be an array with some of %s, or with records of these, as %s/KEY", s.known(), s.Source.Topics()[0])
	case m.BatchSize < 1 || m.BatchSize > MaxBatchSize:
		return fault.Field("batch_size", "must be from 1 to %d messages", MaxBatchSize)
	case m.BatchDuration < 0 || m.BatchDuration > MaxBatchDuration:
		return fault.Field("batch_duration", "must be from 0 to %d seconds", MaxBatchDuration)
	case utf8.RuneCountInString(m.Description) > maxText:
		return fault.Field("description", "must have at most %d characters", maxText)
	}
	if err := p.applyForm(m); err != nil {
		return err
	}
	if m.Type == Polling {
		m.Method, m.Persistent = "", true
		return p.checkPolling()
	}
	return s.applyTarget(p, m, was)
}

func (p Patch) applyType(m *Monitor) error {
	given := word(p.Type)
	switch {
	case p.Type == nil && m.Type != "":
	case p.Type == nil:
		return fault.Field("type", "is required: http, or polling")
	case given == "tcp":
		return fault.Field("type", "must be http or polling: monitors over TCP are not served here")
	case given != string(HTTP) && given != string(Polling):
		return fault.Field("type", "must be http or polling, not %.40q", *p.Type)
	case m.Type != "" && given != string(m.Type):
		return fault.Field("type", "cannot be changed")
	default:
		m.Type = Type(given)
	}
	switch status := word(p.Status); {
	case p.Status == nil, status == string(Active), status == string(Inactive):
		m.Status = Inactive // until its target has answered
	case status == string(Disabled):
		m.Status = Disabled
	default:
		return fault.Field("status", "must be active, which switches it on, or disabled, not %.40q", *p.Status)
	}
	if m.Type == Polling && m.Status == Inactive {
		m.Status = Active // there is nobody to wait for
	}
	return nil
}

// applyForm reads how documents are written.
func (p Patch) applyForm(m *Monitor) error {
	if p.Format != nil && word(p.Format) != "json" {
		return fault.Field("format", "must be json, not %.40q", *p.Format)
	}
	if p.Compression != nil {
		m.Compression = word(p.Compression)
	}
	if m.Compression != "none" && m.Compression != "gzip" {
		return fault.Field("compression", "must be none or gzip")
	}
	for _, f := range []struct {
		name string
		of   *string
	}{{"schema_type", p.SchemaType}, {"schema", p.Schema}} {
		if f.of != nil && *f.of != "" {
			return fault.Field(f.name, "must be left out: templates for documents are not served here")
		}
	}
	return nil
}

// checkPolling refuses what has a meaning only where something is sent.
func (p Patch) checkPolling() error {
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"url", word(p.URL) != ""},
		{"method", word(p.Method) != ""},
		{"headers", p.Headers != nil && len(*p.Headers) > 0},
		{"auth_token", p.AuthToken != nil && *p.AuthToken != ""},
	} {
		if f.given {
			return fault.Field(f.name, "must be left out of a polling monitor: nothing is sent, its client fetches")
		}
	}
	return nil
}

// applyTarget reads where documents go, and with which credentials.
func (s *Store) applyTarget(p Patch, m *Monitor, was Monitor) error {
	if p.URL != nil {
		m.URL = strings.TrimSpace(*p.URL)
	}
	if m.URL == "" {
		return fault.Field("url", "is required: where documents are sent")
	}
	if len(m.URL) > maxURL {
		return fault.Field("url", "must have at most %d bytes", maxURL)
	}
	if err := s.Check("url", m.URL); err != nil {
		return err
	}
	u, err := url.Parse(m.URL)
	if err != nil {
		return fault.Field("url", "must be an absolute http or https URL")
	}
	if u.User != nil {
		return fault.Field("url", "must have no user and password, since it is shown: send them as auth_token")
	}
	if p.Method != nil {
		m.Method = strings.ToUpper(strings.TrimSpace(*p.Method))
	}
	if m.Method != http.MethodPost && m.Method != http.MethodPut {
		return fault.Field("method", "must be POST or PUT")
	}
	if err := p.applySecrets(&m.secrets); err != nil {
		return err
	}
	if was.URL != "" && endpoint(was.URL) != endpoint(m.URL) && (p.AuthToken == nil && was.secrets.Token != "" || p.Headers == nil && len(was.secrets.Headers) > 0) {
		return fault.Field("url", "is at another server: send auth_token and headers along, for those that there are were meant for %s", endpoint(was.URL))
	}
	m.HeaderNames = nil
	for _, h := range m.secrets.Headers {
		m.HeaderNames = append(m.HeaderNames, h[0])
	}
	return nil
}

// endpoint is the server of a URL, which may be told to anybody.
func endpoint(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// ours are headers that the request has of itself.
var ours = []string{
	"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade",
	"Proxy-Authorization", "Proxy-Connection", "Expect",
}

func (p Patch) applySecrets(to *secrets) error {
	if p.AuthToken != nil {
		to.Token = *p.AuthToken
	}
	if p.Headers != nil {
		to.Headers = nil
		if len(*p.Headers) > maxHeaders {
			return fault.Field("headers", "must have at most %d", maxHeaders)
		}
		for _, line := range *p.Headers {
			name, value, ok := strings.Cut(line, ":")
			name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
			switch {
			case !ok || !isToken(name):
				return fault.Field("headers", `must be an array of texts like "Name: value"`)
			case !visible(value):
				return fault.Field("headers", "has a value for %s with characters that headers cannot have", name)
			case slices.Contains(ours, name):
				return fault.Field("headers", "cannot have %s, which the request sets itself", name)
			}
			to.Headers = append(to.Headers, [2]string{name, value})
		}
	}
	if !visible(to.Token) {
		return fault.Field("auth_token", "must have visible ASCII characters only")
	}
	if to.Token != "" && slices.ContainsFunc(to.Headers, func(h [2]string) bool { return h[0] == "Authorization" }) {
		return fault.Field("auth_token", "cannot be there beside a header Authorization")
	}
	size := len(to.Token)
	for _, h := range to.Headers {
		size += len(h[0]) + len(h[1])
	}
	if size > maxSecrets {
		return fault.Field("headers", "must have at most %d bytes, with auth_token", maxSecrets)
	}
	return nil
}

// isToken reports whether a text can be the name of a header (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

func visible(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 && c != '\t' || c >= 0x7F {
			return false
		}
	}
	return true
}

func (s *Store) known() string { return strings.Join(s.Source.Topics(), ", ") }

// topics reads what is to be monitored.
func (s *Store) topics(list []string) ([]string, error) {
	var all []string
	for _, given := range list {
		topic, key, narrowed := strings.Cut(strings.Trim(strings.TrimSpace(given), "/"), "/")
		if !slices.Contains(s.Source.Topics(), topic) {
			return nil, fault.Field("topics", "has %.60q, which is none of %s", given, s.known())
		}
		if narrowed {
			if key == "" || len(key) > maxKey || strings.Contains(key, "/") {
				return nil, fault.Field("topics", "has %.60q: after a resource the key of one record may follow, as %s/KEY", given, topic)
			}
			topic += "/" + key
		}
		if !slices.Contains(all, topic) {
			all = append(all, topic)
		}
	}
	if len(all) > MaxTopics {
		return nil, fault.Field("topics", "must be at most %d", MaxTopics)
	}
	return all, nil
}

// wants reports whether a monitor is to tell about a record.
func (m *Monitor) wants(topic, key string) bool {
	return slices.ContainsFunc(m.Topics, func(t string) bool {
		of, only, narrowed := strings.Cut(t, "/")
		return of == topic && (!narrowed || strings.EqualFold(only, key))
	})
}

// kinds are the events that a monitor looks at.
func (s *Store) kinds(topics []string) []string {
	var all []string
	for _, t := range topics {
		of, _, _ := strings.Cut(t, "/")
		for _, kind := range s.Source.Kinds(of) {
			if !slices.Contains(all, kind) {
				all = append(all, kind)
			}
		}
	}
	return all
}
