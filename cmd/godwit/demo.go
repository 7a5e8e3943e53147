package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"godwit/carrier"
	"godwit/euicc"
	"godwit/event"
	"godwit/ident"
	"godwit/lpa"
	"godwit/rsp"
	"godwit/trust"
)

// demoCommand does the whole job once, with a virtual device, through the real
// ports: what it uses of this process is only what a core network would have.
type demoCommand struct {
	Data string `help:"Data directory to make and keep; a temporary one by default." type:"path" placeholder:"DIR"`
	Once bool   `help:"End after the last step: exit code 0 only if all of it came true."`
}

func (c demoCommand) Run(ctx context.Context) (err error) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if c.Data == "" {
		dir, err := os.MkdirTemp("", "godwit-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c.Data = filepath.Join(dir, "data")
	}
	if (dataFlags{Data: c.Data}).exists() {
		return fmt.Errorf("%s is in use already: the demonstration begins on an empty directory", c.Data)
	}
	d := &demo{story: story{out: os.Stdout, began: time.Now(), people: isatty.IsTerminal(os.Stdout.Fd())}, dir: c.Data}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := d.listen(); err != nil {
		return err
	}
	served, err := d.serve(ctx)
	if err != nil {
		return err
	}
	if err := d.play(ctx); err != nil {
		d.fail(err)
		stop()
		return errors.Join(exitError(exitFailed), <-served)
	}
	fmt.Fprintf(d.out, "\nAll of it came true in %d ms.\n", time.Since(d.began).Milliseconds())
	if !c.Once {
		fmt.Fprintf(d.out, "\nThe server goes on at %s (SM-DP+ %s); end it with Ctrl-C.\nFor scripts: godwit credentials --data %s\n",
			d.server.addresses.BaseURL, d.server.addresses.SMDPAddress, c.Data)
		<-ctx.Done()
	}
	stop()
	return <-served
}

// demo is one run.
type demo struct {
	story
	dir    string
	server *started
	hooks  *hooks
	token  string
	set    *trust.Set
	client *http.Client
}

// listen starts the customer's own server, which hears the callbacks.
func (d *demo) listen() (err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.hooks = &hooks{url: "http://" + l.Addr().String() + "/callback", heard: make(chan url.Values, 64)}
	go http.Serve(l, d.hooks)
	return nil
}

// serve starts the server on free ports.
func (d *demo) serve(ctx context.Context) (chan error, error) {
	host := strings.TrimPrefix(d.hooks.url, "http://")
	host, _, _ = strings.Cut(host, "/")
	command := serveCommand{
		dataFlags: dataFlags{Data: d.dir, Database: "sqlite"}, Listen: "127.0.0.1:0", RSPListen: []string{"127.0.0.1:0"},
		ProfileType: defaultType, CallbackAllow: []string{host},
	}
	var err error
	if d.server, err = command.start(ctx); err != nil {
		return nil, err
	}
	found, err := command.credentials(ctx)
	if err != nil {
		return nil, err
	}
	d.token = found.AuthToken
	d.hooks.token = found.AuthToken
	if d.set, err = trust.Load(command.pkiDir(), testSet); err != nil {
		return nil, err
	}
	served := make(chan error, 1)
	go func() {
		served <- d.server.app.run(ctx)
		d.server.close()
	}()
	d.client = &http.Client{Timeout: patience}
	d.tell("server ready", "Super SIM API at %s, SM-DP+ at %s, embedded SQLite", d.server.addresses.BaseURL, d.server.addresses.SMDPAddress)
	return served, nil
}

// A demoDevice is a device of the demonstration: a chip and its assistant.
type demoDevice struct {
	card *euicc.Card
	lpa  *lpa.LPA
}

// play is the demonstration.
func (d *demo) play(ctx context.Context) error {
	one, err := d.device("phone")
	if err != nil {
		return err
	}
	two, err := d.device("meter")
	if err != nil {
		return err
	}
	d.tell("two software eUICCs made", "%s and %s, certified by the EUM under the test CI", one.card.EID(), two.card.EID())

	byEID, err := d.reserve("Eid", string(one.card.EID()))
	if err != nil {
		return err
	}
	byCode, err := d.reserve("GenerateMatchingId", "true")
	if err != nil {
		return err
	}
	for _, p := range []*reserved{byEID, byCode} {
		if err := d.available(p); err != nil {
			return err
		}
	}
	picture, err := qrText("LPA:" + byCode.ActivationCode)
	if err != nil {
		return err
	}
	if d.people {
		fmt.Fprint(d.out, "\n", picture, "\n")
	}
	d.tell("activation code", "LPA:%s (as a QR code%s)", byCode.ActivationCode, map[bool]string{true: " above", false: " on a terminal"}[d.people])

	if err := d.download(ctx, one, byEID, lpa.Request{Address: d.server.addresses.SMDPAddress}); err != nil {
		return err
	}
	code, err := rsp.ParseActivationCode("LPA:" + byCode.ActivationCode)
	if err != nil {
		return err
	}
	if err := d.download(ctx, two, byCode, lpa.FromActivationCode(code)); err != nil {
		return err
	}
	if err := d.activate(byEID); err != nil {
		return err
	}
	if err := d.enable(ctx, one, byEID); err != nil {
		return err
	}
	return d.challenge(ctx, one, byEID, byCode)
}

// device makes a software eUICC under the test CI, with an assistant that
// trusts that CI.
func (d *demo) device(name string) (*demoDevice, error) {
	digits := make([]byte, 11)
	rand.Read(digits)
	eid, err := ident.NewEID(trust.EIDPrefix + fmt.Sprintf("%022d", uint64(digits[0])<<48|uint64(time.Now().UnixNano())))
	if err != nil {
		return nil, err
	}
	config, err := chipOf(d.set, eid)
	if err != nil {
		return nil, err
	}
	card, err := euicc.New(filepath.Join(d.dir, "chips", name), config)
	if err != nil {
		return nil, err
	}
	roots, err := d.set.Roots()
	if err != nil {
		return nil, err
	}
	chip, err := lpa.OpenChip(card)
	if err != nil {
		return nil, err
	}
	return &demoDevice{card: card, lpa: &lpa.LPA{Chip: chip, HTTP: lpa.NewHTTPClient(lpa.Trust{Roots: roots})}}, nil
}

// reserved is an ESimProfile as the API shows it.
type reserved struct {
	SID            string `json:"sid"`
	ICCID          string `json:"iccid"`
	SimSID         string `json:"sim_sid"`
	Status         string `json:"status"`
	EID            string `json:"eid"`
	ActivationCode string `json:"activation_code"`
	ErrorMessage   string `json:"error_message"`
}

func (d *demo) reserve(parameter, value string) (*reserved, error) {
	var p reserved
	status, err := d.call("/v1/ESimProfiles", url.Values{parameter: {value}, "CallbackUrl": {d.hooks.url}}, &p)
	if err != nil {
		return nil, err
	}
	d.tell("reserved with "+parameter, "POST /v1/ESimProfiles: %d, %s is %s", status, p.SID, p.Status)
	return &p, nil
}

// available waits for the callback, then reads what it tells of.
func (d *demo) available(p *reserved) error {
	heard, err := d.hooks.wait("ESimProfileSid", p.SID, "ESimProfileStatus", "available")
	if err != nil {
		return err
	}
	if _, err := d.call("/v1/ESimProfiles/"+p.SID, nil, p); err != nil {
		return err
	}
	d.tell("profile available", "callback with a good X-Twilio-Signature: ICCID %s, Sim %s", heard.Get("SimIccid"), heard.Get("SimSid"))
	return nil
}

// download has the device fetch and install the profile, and checks that
// everybody learnt the truth about it.
func (d *demo) download(ctx context.Context, to *demoDevice, p *reserved, q lpa.Request) error {
	result, err := to.lpa.Download(ctx, q)
	if err != nil {
		return err
	}
	if string(result.Metadata.ICCID) != p.ICCID {
		return fmt.Errorf("the eUICC installed %s, reserved was %s", result.Metadata.ICCID, p.ICCID)
	}
	if result.NotifyError != nil {
		return result.NotifyError
	}
	d.tell("downloaded and installed", "eUICC %s verified the SM-DP+ and signed its installation result", to.card.EID())
	for _, status := range []string{"downloaded", "installed"} {
		heard, err := d.hooks.wait("ESimProfileSid", p.SID, "ESimProfileStatus", status)
		if err != nil {
			return err
		}
		if heard.Get("Eid") != string(to.card.EID()) {
			return fmt.Errorf("the callback names eUICC %s, installed is it on %s", heard.Get("Eid"), to.card.EID())
		}
	}
	if _, err := d.call("/v1/ESimProfiles/"+p.SID, nil, p); err != nil {
		return err
	}
	if p.Status != "installed" {
		return fmt.Errorf("%s is %s, want installed", p.SID, p.Status)
	}
	evidence, err := d.evidence(ctx, p.SID, "installed")
	if err != nil {
		return err
	}
	d.tell("everybody knows", "callbacks downloaded and installed; kept as evidence: %s", evidence)
	return nil
}

// evidence describes what proved the last change of a thing.
func (d *demo) evidence(ctx context.Context, subject, what string) (string, error) {
	events, err := d.events(ctx, subject)
	if err != nil {
		return "", err
	}
	for _, e := range events {
		if len(e.Evidence) > 0 && e.EvidenceKind != "es2plus" {
			return fmt.Sprintf("%s of %d octets, %s…", e.EvidenceKind, len(e.Evidence), hex.EncodeToString(e.Evidence[:8])), nil
		}
	}
	return "", fmt.Errorf("%s is %s, and no event keeps what proved it", subject, what)
}

// activate puts the Sim into a Fleet and has it served.
func (d *demo) activate(p *reserved) error {
	var fleet struct {
		SID string `json:"sid"`
	}
	if _, err := d.call("/v1/Fleets", url.Values{"UniqueName": {"demo"}, "NetworkAccessProfile": {"default"}}, &fleet); err != nil {
		return err
	}
	var s struct {
		Status string `json:"status"`
	}
	status, err := d.call("/v1/Sims/"+p.SimSID, url.Values{"Fleet": {"demo"}, "Status": {"active"}, "CallbackUrl": {d.hooks.url}}, &s)
	if err != nil {
		return err
	}
	if status != http.StatusAccepted || s.Status != "scheduled" {
		return fmt.Errorf("activation was answered %d %s, want 202 scheduled", status, s.Status)
	}
	heard, err := d.hooks.wait("SimSid", p.SimSID, "SimStatus", "active")
	if err != nil {
		return err
	}
	d.tell("Sim active", "POST /v1/Sims: 202 scheduled, then a callback: %s is %s", heard.Get("SimSid"), heard.Get("SimStatus"))
	return nil
}

// enable switches the profile on and delivers the eUICC's notification.
func (d *demo) enable(ctx context.Context, on *demoDevice, p *reserved) error {
	if err := on.lpa.Chip.Enable(rsp.Selector{ICCID: ident.ICCID(p.ICCID)}, true); err != nil {
		return err
	}
	sent, err := on.lpa.Notify(ctx)
	if err != nil {
		return err
	}
	for _, n := range sent {
		if n.Err != nil {
			return n.Err
		}
	}
	d.tell("profile enabled", "%d notification(s) signed by the eUICC were delivered to the SM-DP+", len(sent))
	return nil
}

// challenge has the USIM authenticate towards the network, and a Sim that is not
// active refused.
func (d *demo) challenge(ctx context.Context, on *demoDevice, active, other *reserved) error {
	app := d.server.app
	personal, err := app.smdp.Personal(ctx, ident.ICCID(active.ICCID))
	if err != nil {
		return err
	}
	answers := 0
	vector, err := app.registry.Authenticate(ctx, personal.IMSI, testNetwork, func(random, autn [16]byte) (carrier.Answer, error) {
		answers++
		return authenticate(on.card, random[:], autn[:])
	})
	if err != nil {
		return err
	}
	d.tell("network authentication", "IMSI %s: the USIM verified AUTN and answered RES %x to RAND %x after %d challenge(s)",
		personal.IMSI, vector.XRES, vector.RAND, answers)
	if personal, err = app.smdp.Personal(ctx, ident.ICCID(other.ICCID)); err != nil {
		return err
	}
	_, err = app.registry.Challenge(ctx, personal.IMSI)
	if err == nil {
		return errors.New("the network would serve a Sim that was never activated")
	}
	d.tell("the other Sim is refused", "%v", err)
	return nil
}

// events lists what happened to a thing, the last first.
func (d *demo) events(ctx context.Context, subject string) ([]event.Event, error) {
	return eventsOf(ctx, d.server.app, subject)
}

// call makes one call of the Super SIM API: POST with a form, GET without.
func (d *demo) call(path string, form url.Values, into any) (int, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	request, err := http.NewRequest(method, d.server.addresses.BaseURL+path, body)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth(d.server.account, d.token)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := d.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if response.StatusCode >= 300 {
		return response.StatusCode, fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, content)
	}
	return response.StatusCode, json.Unmarshal(content, into)
}
