package smdp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"godwit/db"
	"godwit/es2"
	"godwit/ident"
	"godwit/rsp"
)

// An event at an SM-DS tells an eUICC that something waits for it here. SGP.22
// v2.5, 5.10 (ES12).
type event struct {
	EID ident.EID        `json:"eid"`
	ID  ident.MatchingID `json:"event_id"`
}

// newClient returns the HTTP client for neighbours: SM-DSs and operators' systems.
func (s *Server) newClient() *http.Client {
	config := &tls.Config{}
	if s.cfg.Trust != nil {
		config = s.cfg.Trust.Clone()
	}
	if s.cfg.ClientCertificate != nil {
		config.Certificates = []tls.Certificate{*s.cfg.ClientCertificate}
	}
	return es2.NewHTTP(config)
}

// es12 calls a function of ES12.
func (s *Server) es12(ctx context.Context, address, function string, call any) error {
	var answer rsp.EventResponse
	if err := es2.Post(ctx, s.client, "https://"+address+rsp.PathES12+function, call, &answer); err != nil {
		return err
	}
	return answer.Header.Err()
}

// registerEvent registers an event, and returns the refusal for the operator
// when it cannot: 8.9/5.1 when nobody answers, 8.9/4.2 when the SM-DS refuses.
func (s *Server) registerEvent(ctx context.Context, address string, e event, call string) *rsp.Failure {
	if err := rsp.CheckAddress(address); err != nil {
		return rsp.Refuse(rsp.DSInaccessible, "smdsAddress: %v", err)
	}
	register := func(call string) error {
		return s.es12(ctx, address, rsp.FnRegisterEvent, rsp.RegisterEvent{
			Header: rsp.RequestHeader{Requester: s.Address(), Call: call},
			EID:    string(e.EID), ServerAddress: s.Address(), EventID: string(e.ID),
		})
	}
	err := register(call)
	if f, ok := rsp.AsFailure(err); ok && f.StatusCode == rsp.EventExists {
		// Event identifiers are unique per server, so it is one of ours that an
		// interrupted call left behind, perhaps for another eUICC.
		if err = s.deleteEvent(ctx, address, e, call+"-again"); err == nil {
			err = register(call + "-anew")
		}
	}
	if err == nil {
		return nil
	}
	if f, ok := rsp.AsFailure(err); ok {
		return rsp.Refuse(rsp.DSFailed, "SM-DS %s refused the event: %v", address, f)
	}
	if errors.Is(err, es2.ErrUnreachable) {
		return rsp.Refuse(rsp.DSInaccessible, "SM-DS %s cannot be reached", address)
	}
	return rsp.Refuse(rsp.DSFailed, "SM-DS %s: %v", address, err)
}

// deleteEvent deletes an event. One that is gone already is deleted enough.
func (s *Server) deleteEvent(ctx context.Context, address string, e event, call string) error {
	err := s.es12(ctx, address, rsp.FnDeleteEvent, rsp.DeleteEvent{
		Header: rsp.RequestHeader{Requester: s.Address(), Call: call}, EID: string(e.EID), EventID: string(e.ID),
	})
	if f, ok := rsp.AsFailure(err); ok && f.StatusCode == rsp.EventUnknown {
		return nil
	}
	return err
}

// sendProgress tells an operator's system how a profile gets on. Operators
// without such a system hear nothing.
func (s *Server) sendProgress(ctx context.Context, operator, payload string) error {
	var list []Operator
	if err := s.db.Read(ctx, func(q db.Query) (err error) {
		list, err = operatorsWhere(ctx, q, `id = $1`, operator)
		return err
	}); err != nil {
		return err
	}
	if len(list) == 0 || list[0].Progress == "" {
		return nil
	}
	var answer struct {
		Header rsp.ResponseHeader `json:"header"`
	}
	answer.Header = rsp.Succeeded
	url := strings.TrimSuffix(list[0].Progress, "/") + rsp.PathES2 + rsp.FnProgressInfo
	if err := es2.Post(ctx, s.client, url, rawJSON(payload), &answer); err != nil {
		return err
	}
	if err := answer.Header.Err(); err != nil {
		return fmt.Errorf("operator %s refuses progress information: %w", list[0].Name, err)
	}
	return nil
}

// rawJSON is JSON that is sent as it stands.
type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }
