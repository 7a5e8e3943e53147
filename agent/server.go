package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"godwit/ident"
)

// A server is the door that the agent enrols and reports at. docs/agent.md.
type server struct {
	url  string
	http *http.Client
}

// A refusal is an answer of the server other than success.
type refusal struct {
	Status  int
	Code    string `json:"code"`
	Field   string `json:"field"`
	Message string `json:"message"`
	Wait    time.Duration
}

func (r *refusal) Error() string {
	text := r.Message
	if text == "" {
		text = "HTTP status " + strconv.Itoa(r.Status)
	}
	if r.Field != "" {
		text = r.Field + ": " + text
	}
	return "the server refused: " + text
}

// lasting reports whether asking again would be refused again.
func (r *refusal) lasting() bool {
	return r.Status >= 400 && r.Status < 500 && r.Status != http.StatusTooManyRequests && r.Status != http.StatusRequestTimeout
}

// facts are what is told about the device.
type facts struct {
	Version  string `json:"agent_version,omitempty"`
	Platform string `json:"platform,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	Uptime   int64  `json:"uptime_seconds,omitempty"`
	Firmware string `json:"firmware_version,omitempty"`
	MAC      string `json:"mac,omitempty"`
	IP       string `json:"ip,omitempty"`
	IMEI     string `json:"imei,omitempty"`
	ICCID    string `json:"iccid,omitempty"`
	Carrier  string `json:"carrier,omitempty"`
	Network  string `json:"network,omitempty"`
	APN      string `json:"apn,omitempty"`
	Phone    string `json:"phone_number,omitempty"`
	Strength *int64 `json:"signal_strength,omitempty"`
	Percent  *int64 `json:"signal_percent,omitempty"`
}

type enrolment struct {
	DeviceID string         `json:"device_id,omitempty"`
	EIDs     []enrolledChip `json:"eids"`
	facts
}

type enrolledChip struct {
	EID      ident.EID `json:"eid"`
	Kind     string    `json:"kind"`
	AgentKey []byte    `json:"agent_key,omitempty"`
}

type enrolled struct {
	DeviceID string `json:"device_id"`
	Token    string `json:"token"`
	Poll     int    `json:"poll_seconds"`
	ESipa    string `json:"esipa_url"`
	Eims     []struct {
		EID ident.EID `json:"eid"`
		Eim []byte    `json:"eim"`
	} `json:"eims"`
}

// maxAnswer bounds an answer of the server.
const maxAnswer = 256 << 10

// enrol enrols with what prove puts into the request.
func (s *server) enrol(ctx context.Context, prove func(*http.Request), q enrolment) (p enrolled, err error) {
	err = s.post(ctx, "/agent/v1/enrol", prove, q, &p)
	if err == nil && (p.Token == "" || p.DeviceID == "" || len(p.Eims) == 0) {
		err = fmt.Errorf("%s: the answer to the enrolment lacks the token, the device's ID or the eIM", s.url)
	}
	return p, err
}

// report tells what the device knows of itself, and returns how often to poll.
func (s *server) report(ctx context.Context, token string, f facts) (poll int, err error) {
	var p struct {
		Poll int `json:"poll_seconds"`
	}
	err = s.post(ctx, "/agent/v1/report", bearer(token), f, &p)
	return p.Poll, err
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func (s *server) post(ctx context.Context, path string, prove func(*http.Request), q, p any) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "godwit-agent/"+Version)
	prove(r)
	answer, err := s.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer of %s: %w", s.url, err)
	case len(content) > maxAnswer:
		return fmt.Errorf("the answer of %s is longer than %d octets", s.url, maxAnswer)
	case answer.StatusCode != http.StatusOK:
		refused := &refusal{}
		_ = json.Unmarshal(content, refused) // a proxy answers as it likes
		refused.Status = answer.StatusCode
		if seconds, err := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 17); err == nil {
			refused.Wait = time.Duration(seconds) * time.Second
		}
		return refused
	}
	if err := json.Unmarshal(content, p); err != nil {
		return fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	return nil
}
