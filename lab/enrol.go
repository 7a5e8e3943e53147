package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"godwit/ident"
	"godwit/iot"
	"godwit/ipa"
	"godwit/pki"
)

// An agent is what a device was given when it enrolled.
type agent struct {
	DeviceID string `json:"device_id"`
	Token    string `json:"token"`
	ESipa    string `json:"esipa_url"`
	Eim      []byte `json:"eim"` // EimConfigurationData, DER
}

const agentFile = "agent.json"

// loadAgent finds what an earlier life was given.
func (d *Device) loadAgent() error {
	document, err := d.journal(agentFile).Load()
	if err != nil || document == nil {
		return err
	}
	var a agent
	if err := json.Unmarshal(document, &a); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(d.dir, agentFile), err)
	}
	d.agent = &a
	return nil
}

// enrol introduces the device to the server. What was lost on the way is asked
// for again: the server knows the device by its IMEI.
func (d *Device) enrol(ctx context.Context) error {
	chip := map[string]any{"eid": d.plan.EID, "kind": "iot"}
	if d.consumer() {
		key, err := d.plan.key("key of the agent")
		if err != nil {
			return err
		}
		public, err := pki.PublicKeyOf(key)
		if err != nil {
			return err
		}
		chip["kind"], chip["agent_key"] = "consumer", public.Info()
	}
	facts := d.facts()
	facts["eids"] = []any{chip}
	var answer struct {
		agent
		Eims []struct {
			EID ident.EID `json:"eid"`
			Eim []byte    `json:"eim"`
		} `json:"eims"`
	}
	if err := d.call(ctx, "enrol", facts, &answer, func(q *http.Request) {
		q.SetBasicAuth(d.lab.Server.User, d.lab.Server.Password)
	}); err != nil {
		return err
	}
	for _, e := range answer.Eims {
		if e.EID == d.plan.EID {
			answer.agent.Eim = e.Eim
		}
	}
	if answer.DeviceID == "" || answer.ESipa == "" || answer.Eim == nil {
		return errors.New("the server's answer names no device, no eIM or none for the eUICC")
	}
	document, err := json.Marshal(answer.agent)
	if err == nil {
		err = d.journal(agentFile).Save(document)
	}
	if err != nil {
		return err
	}
	d.agent = &answer.agent
	d.lab.count.enrolled.Add(1)
	return nil
}

// associate tells the eUICC of its eIM, if it knows none.
func (d *Device) associate() error {
	known, err := d.chip.Eims()
	if err != nil || len(known) > 0 {
		return err
	}
	config, err := iot.ParseEimConfiguration(d.agent.Eim)
	if err != nil {
		return err
	}
	_, err = d.chip.AddInitialEim([]iot.EimConfiguration{*config})
	return err
}

// report tells the server how the device is, from time to time.
func (d *Device) report(ctx context.Context) error {
	if time.Since(d.place.reported) < d.lab.ReportEvery {
		return nil
	}
	err := d.call(ctx, "report", d.facts(), nil, func(q *http.Request) {
		q.Header.Set("Authorization", "Bearer "+d.agent.Token)
	})
	if refused, ok := errors.AsType[*refusal](err); ok && refused.Status == http.StatusUnauthorized {
		// The answer to an enrolment was lost, or the server forgot the device.
		d.agent, d.ipa = nil, nil
		return errors.Join(err, d.forgetAgent())
	}
	if err == nil {
		d.place.reported = time.Now()
	}
	return err
}

func (d *Device) forgetAgent() error {
	if d.dir == "" {
		delete(d.journals, agentFile)
		return nil
	}
	return os.Remove(filepath.Join(d.dir, agentFile))
}

// A refusal is an answer of the agents' door that is no success.
type refusal struct {
	Function string
	Status   int
	Text     string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s was answered %d: %s", r.Function, r.Status, r.Text)
}

// call makes one call of the agents' door.
func (d *Device) call(ctx context.Context, function string, body, into any, prove func(*http.Request)) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, d.lab.Server.URL+"/agent/v1/"+function, bytes.NewReader(content))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	prove(q)
	p, err := d.client(d.lab.plain).Do(q)
	if err != nil {
		return err
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(p.Body, 64<<10))
	if err != nil {
		return err
	}
	d.retry = 0
	if seconds, err := strconv.ParseUint(p.Header.Get("Retry-After"), 10, 16); err == nil {
		d.retry = time.Duration(seconds) * time.Second
	}
	if p.StatusCode != http.StatusOK {
		return &refusal{function, p.StatusCode, string(answer[:min(len(answer), 200)])}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// esipa returns the device's client of its eIM, over connections that all devices
// of that eIM share.
func (l *Lab) esipa(d *Device) (*ipa.Client, error) {
	config, err := iot.ParseEimConfiguration(d.agent.Eim)
	if err != nil {
		return nil, err
	}
	key := d.agent.ESipa + "\x00" + string(config.TLSPublicKey) + "\x00" + string(config.TLSCertificate)
	l.mu.Lock()
	defer l.mu.Unlock()
	base := l.eims[key]
	if base == nil {
		client, err := ipa.Trust{
			PublicKey: config.TLSPublicKey, Certificate: config.TLSCertificate, Roots: l.roots, Dial: l.Server.Dial,
		}.NewHTTPClient()
		if err != nil {
			return nil, err
		}
		base = client.Transport
		l.eims[key] = base
	}
	return &ipa.Client{URL: d.agent.ESipa, HTTP: d.client(base)}, nil
}
