package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"godwit/account"
	"godwit/agentapi"
	"godwit/db"
	devices "godwit/device"
	"godwit/eim"
	"godwit/fault"
	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// An inField is what manages devices: the domain, the eIM that carries its work
// out, and the door of our own agents.
type inField struct {
	devices *devices.Store
	eim     *eim.Server
	agents  *agentapi.Door
	handler http.Handler // of the eIM
}

// joinField joins the parts. The first port of the SM-DP+ is where IPAs reach the
// eIM.
func joinField(ctx context.Context, a *app, s settings) (*inField, error) {
	f := &inField{devices: &devices.Store{DB: a.db, Jobs: a.queue, Events: a.events}}
	roots, err := pki.NewRoots()
	if err != nil {
		return nil, err
	}
	var anchor []byte
	for _, set := range s.Trust {
		for _, m := range set.Members {
			if err := roots.Add(m.Identity.CI); err != nil {
				return nil, err
			}
		}
	}
	// The CI and not the server's own key: that changes when the certificate is
	// renewed.
	for _, m := range s.RSP[0].Set.Members {
		if m.Identity.TLS != nil && m.Identity.TLS.Certificate.PublicKey.Curve() == pki.P256 && anchor == nil {
			anchor = m.Identity.CI.Raw
		}
	}
	address := s.RSP[0].Address
	f.eim, err = eim.Open(ctx, a.db, eim.Config{
		ID: address, FQDN: address, Roots: roots, TLSTrust: anchor, Jobs: a.queue, Dial: ownFirst(s),
		Outcome: f.outcome, Inventory: f.inventory, Seen: f.seen,
	})
	if err != nil {
		return nil, err
	}
	f.devices.EIM = eimOf{f.eim}
	f.devices.Register()
	f.handler = f.eim.Handler()
	f.agents = agentapi.New(agentapi.Options{
		DB: a.db, Events: a.events, Devices: registrar{f}, User: registering(a.accounts), Esipa: esipaURL(s.RSP[0], address),
	})
	return f, nil
}

// esipaURL is where agents reach the eIM.
func esipaURL(l rspListener, address string) string {
	scheme := "http"
	for _, m := range l.Set.Members {
		if c := m.Identity.TLS; c != nil && c.Certificate.PublicKey.Curve() == pki.P256 {
			scheme = "https"
		}
	}
	return scheme + "://" + address
}

// ownFirst connects to the SM-DP+ of this process where it listens: a machine
// need not find itself under its public name.
func ownFirst(s settings) func(ctx context.Context, network, address string) (net.Conn, error) {
	own := map[string]string{}
	for _, l := range s.RSP {
		name := l.Address
		if !strings.Contains(name, ":") {
			name += ":443"
		}
		own[name] = l.Addr().String()
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if here, ok := own[address]; ok {
			address = here
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// run works until ctx ends.
func (f *inField) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.eim.Run(ctx) })
	return g.Wait()
}

// before puts the doors of devices in front of the SM-DP+'s on one port.
func (f *inField) before(smdp http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case agentapi.Paths(r.URL.Path):
			f.agents.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, esipaPath):
			f.handler.ServeHTTP(w, r)
		case r.URL.Path == rsp.PathASN1:
			// ES9+ and ESipa share a path; the first octet tells them apart.
			var first [1]byte
			n, _ := io.ReadFull(r.Body, first[:])
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(first[:n]), r.Body), r.Body}
			if n == 1 && eim.ServesASN1(first[0]) {
				f.handler.ServeHTTP(w, r)
				return
			}
			smdp.ServeHTTP(w, r)
		default:
			smdp.ServeHTTP(w, r)
		}
	})
}

// esipaPath begins the paths of ESipa's JSON binding.
const esipaPath = "/gsma/rsp2/esipa/"

// eimOf is the eIM as the domain sees one.
type eimOf struct{ *eim.Server }

func (e eimOf) Register(ctx context.Context, tx *db.Tx, one devices.EUICC) error {
	return e.Server.Register(ctx, tx, eim.EUICC{EID: one.EID, AgentKey: one.AgentKey})
}

func (e eimOf) Queue(ctx context.Context, tx *db.Tx, t devices.Task) error {
	return e.Server.Queue(ctx, tx, eim.Task{
		ID: t.ID, EID: t.EID, Kind: eim.Kind(t.Action), ICCID: t.ICCID, ActivationCode: t.ActivationCode,
		ConfirmationCode: t.ConfirmationCode, Rollback: t.Rollback, Until: t.Until,
	})
}

func (f *inField) outcome(ctx context.Context, tx *db.Tx, o eim.Outcome) error {
	return f.devices.Outcome(ctx, tx, devices.Outcome{
		TaskID: o.TaskID, EID: o.EID, Stage: devices.Stage(o.Stage), ICCID: o.ICCID, Code: o.Code, Reason: o.Reason, Message: o.Message,
		Evidence: o.Evidence, EvidenceKind: o.EvidenceKind, Witness: o.Witness, At: o.At,
	})
}

func (f *inField) inventory(ctx context.Context, tx *db.Tx, i eim.Inventory) error {
	r := devices.Report{EID: i.EID, Evidence: i.Evidence, EvidenceKind: i.EvidenceKind, Witness: i.Witness, At: i.At}
	for _, p := range i.Profiles {
		one := devices.Reported{ICCID: p.ICCID, Active: p.Enabled != nil && *p.Enabled, Type: "operational"}
		if p.ServiceProvider != nil {
			one.Carrier = *p.ServiceProvider
		}
		if p.Name != nil {
			one.Name = *p.Name
		}
		if p.Class != nil {
			switch *p.Class {
			case rsp.ClassProvisioning:
				one.Type = "bootstrap"
			case rsp.ClassTest:
				one.Type = "test"
			}
		}
		r.Profiles = append(r.Profiles, one)
	}
	return f.devices.Report(ctx, tx, r)
}

func (f *inField) seen(ctx context.Context, list []eim.Sighting) error {
	out := make([]devices.Sighting, len(list))
	for i, s := range list {
		out[i] = devices.Sighting(s)
	}
	return f.devices.Seen(ctx, out)
}

// A registrar is the field as the agents' door sees it.
type registrar struct{ *inField }

func (r registrar) Identify(d agentapi.Device) (string, error) { return identify(d) }

// identify makes the ID of a device from the first thing that is known of it.
func identify(d agentapi.Device) (string, error) {
	field, text, read := "device_id", d.ID, devices.ParseID
	switch {
	case d.ID != "":
	case d.MAC != "":
		field, text, read = "mac", d.MAC, devices.IDFromMAC
	case d.IMEI != "":
		field, text, read = "imei", d.IMEI, devices.IDFromIMEI
	default:
		return "", fault.Field("device_id", "is missing: name the device by device_id, mac or imei")
	}
	id, err := read(text)
	if err != nil {
		return "", fault.Field(field, "%v", err)
	}
	return string(id), nil
}

func (r registrar) ByInstallCode(ctx context.Context, q db.Query, id, code string) (string, error) {
	d, err := r.devices.ByInstallCode(ctx, q, devices.ID(id), code)
	return d.Account, err
}

func (r registrar) Belongs(ctx context.Context, q db.Query, account, id string) error {
	_, err := r.devices.FindDevice(ctx, q, account, devices.ID(id))
	return err
}

func (r registrar) Put(ctx context.Context, tx *db.Tx, by agentapi.By, id string, d agentapi.Device) error {
	patch := devices.DevicePatch{ID: devices.ID(id)}
	for _, e := range d.EUICCs {
		patch.EIDs = append(patch.EIDs, devices.EIDPatch{EID: e.EID, Kind: e.Kind, AgentKey: e.AgentKey})
	}
	_, _, err := r.devices.PutDevice(ctx, tx, devices.By{Account: by.Account, User: by.User, Source: "agent"}, patch, devices.PutOptions{})
	return err
}

func (r registrar) Facts(ctx context.Context, tx *db.Tx, id string, f agentapi.Facts) error {
	return r.devices.PutFacts(ctx, tx, devices.ID(id), devices.Facts{
		FirmwareVersion: f.FirmwareVersion, MAC: f.MAC, SerialNumber: f.SerialNumber, SKU: f.SKU, ProductID: f.ProductID, IP: f.IP,
		PhoneNumber: f.PhoneNumber,
		Modems: [2]devices.Modem{{
			IMEI: f.IMEI, ICCID: f.ICCID, Carrier: f.Carrier, Network: f.Network, APN: f.APN,
			SignalStrength: f.Strength, SignalPercent: f.Percent, SignalQuality: f.Quality,
		}},
	})
}

func (r registrar) Initial(ctx context.Context, q db.Query, eid ident.EID) ([]byte, error) {
	c, err := r.eim.Initial(ctx, q, eid)
	if err != nil {
		return nil, fmt.Errorf("the eIM's configuration for %s: %w", eid, err)
	}
	return c.Append(nil), nil
}

// registering proves a user who may register devices.
func registering(accounts *account.Store) func(*http.Request) (agentapi.By, bool, error) {
	return func(r *http.Request) (by agentapi.By, is bool, err error) {
		var c account.Caller
		user, password, basic := r.BasicAuth()
		switch key := r.Header.Get("X-API-KEY-ID"); {
		case key != "":
			c, err = accounts.VerifyUserKey(r.Context(), key, r.Header.Get("X-API-KEY-SECRET"))
		case basic && !agentapi.NamesDevice(user, identify):
			c, err = accounts.VerifyUser(r.Context(), user, password)
		default:
			return by, false, nil
		}
		if err == nil && !c.Role.Writes() {
			err = fault.New(fault.Forbidden, "user %s may read only: registering a device takes a user who may write", c.User)
		}
		return agentapi.By{Account: c.Account, User: c.User}, true, err
	}
}
