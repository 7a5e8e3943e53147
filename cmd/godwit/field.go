package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"godwit/account"
	"godwit/agentapi"
	"godwit/callback"
	"godwit/db"
	"godwit/device"
	"godwit/eim"
	"godwit/fault"
	"godwit/ident"
	"godwit/iot"
	"godwit/monitor"
	"godwit/remote"
	"godwit/rsp"
	"godwit/web"
)

// fieldFlags say how devices in the field are served.
type fieldFlags struct {
	EIMID        string        `name:"eim-id" help:"Name of this server's eIM to eUICCs; must be no other eIM's. Default: the host of the first SM-DP+ address." placeholder:"ID"`
	PollInterval time.Duration `help:"How often agents ask for work when there is none." default:"60s" placeholder:"DURATION"`
	SilentAfter  time.Duration `name:"disconnected-after" help:"How long after its last sign of life a device is called disconnected. Default: five polls, 5m at least." placeholder:"DURATION"`

	ActionTime    time.Duration `name:"esim-action-time" help:"How long one action on an eSIM may take before it has failed." default:"20m" placeholder:"DURATION"`
	VerifyTime    time.Duration `name:"esim-verify-time" help:"How long an operation waits for the device's report of what was done." default:"20m" placeholder:"DURATION"`
	OperationTime time.Duration `name:"esim-operation-time" help:"How long a whole operation may take." default:"60m" placeholder:"DURATION"`
	KeepWork      time.Duration `name:"esim-keep-work" help:"Age at which finished transactions, operations and rollouts go." default:"2160h" placeholder:"DURATION"`
	KeepCodes     time.Duration `name:"esim-keep-codes" help:"Age at which used activation codes go." default:"720h" placeholder:"DURATION"`
	ForgetCodes   bool          `name:"esim-forget-code-carriers" help:"Find a profile by the carrier in it alone, not by that of the activation code that it came with."`
}

// check finds times that cannot be meant.
func (c fieldFlags) check() error {
	if c.PollInterval < time.Second {
		return fmt.Errorf("--poll-interval: a time of 1s or more, as 60s, not %s", c.PollInterval)
	}
	for name, t := range map[string]time.Duration{"action-time": c.ActionTime, "verify-time": c.VerifyTime, "operation-time": c.OperationTime} {
		if t < time.Second {
			return fmt.Errorf("--esim-%s: a time of 1s or more, as 20m, not %s", name, t)
		}
	}
	if c.SilentAfter != 0 && c.SilentAfter < time.Minute {
		return fmt.Errorf("--disconnected-after: a time of 1m or more, as 30m, not %s: agents ask once in a while", c.SilentAfter)
	}
	for name, t := range map[string]time.Duration{"keep-work": c.KeepWork, "keep-codes": c.KeepCodes} {
		if t < time.Hour {
			return fmt.Errorf("--esim-%s: an age of 1h or more, as 720h, not %s", name, t)
		}
	}
	return nil
}

func (c fieldFlags) limits() device.Limits {
	l := device.Limits{Transaction: c.ActionTime, Verify: c.VerifyTime, Operation: c.OperationTime, KeepWork: c.KeepWork, KeepCodes: c.KeepCodes, Silent: c.SilentAfter}
	if l.Silent == 0 {
		// A device that polls as it is told must not seem to come and go.
		l.Silent = max(5*c.PollInterval, 5*time.Minute)
	}
	return l
}

// joinField joins what serves devices in the field: the devices and their work,
// the eIM, and the door of our agents.
func (a *app) joinField(ctx context.Context) error {
	a.devices = &device.Store{DB: a.db, Jobs: a.queue, Events: a.events, Limits: a.settings.Field.limits(), ForgetCodes: a.settings.Field.ForgetCodes}
	if err := a.openEIM(ctx); err != nil {
		return err
	}
	a.devices.EIM = manager{a.eim}
	a.devices.Register()
	a.agents = agentapi.New(agentapi.Options{
		DB: a.db, Events: a.events, Devices: enrolled{a}, User: a.fieldUser,
		ESipa: esipaURL(a.settings), Poll: a.settings.Field.PollInterval,
	})
	a.devices.Deleted = func(ctx context.Context, tx *db.Tx, id device.ID) error { return a.agents.Forget(ctx, tx, string(id)) }
	a.monitors = &monitor.Store{
		DB: a.db, Events: a.events, Client: callback.Client(a.settings.Callbacks), Check: a.calls.Check, Words: callback.InWords,
	}
	a.remote = remote.New(remote.Options{
		DB: a.db, Accounts: a.accounts, Devices: a.devices, Events: a.events,
		Address: web.Address{URL: a.settings.PublicURL, Proxies: a.settings.Proxies},
		Rates:   &web.Rates{PerSecond: a.settings.Rate}, Concurrent: a.settings.Concurrent,
		Configuration: a.configuration, Packages: packages{a.db, a.eim}, Monitors: a.monitors,
	})
	a.monitors.Source = a.remote.Monitored()
	return nil
}

// outcome tells the devices how a task of the eIM stands.
func (a *app) outcome(ctx context.Context, tx *db.Tx, o eim.Outcome) error {
	return a.devices.Outcome(ctx, tx, device.Outcome{
		TaskID: o.TaskID, EID: o.EID, Stage: device.Stage(o.Stage), ICCID: o.ICCID, Code: o.Code, Reason: o.Reason,
		Message: o.Message, Reached: o.Reached, Evidence: o.Evidence, EvidenceKind: o.EvidenceKind, Witness: o.Witness, At: o.At,
	})
}

// inventory tells them what an eUICC says that it holds.
func (a *app) inventory(ctx context.Context, tx *db.Tx, i eim.Inventory) error {
	return a.devices.Report(ctx, tx, reportOf(i))
}

// sighted tells them who has polled.
func (a *app) sighted(ctx context.Context, list []eim.Sighting) error {
	seen := make([]device.Sighting, len(list))
	for i, one := range list {
		seen[i] = device.Sighting(one)
	}
	return a.devices.Seen(ctx, seen)
}

// manager is the eIM as the devices' domain sees it.
type manager struct{ server *eim.Server }

// kinds are the eIM's words for what is done on an eSIM.
var kinds = map[device.Action]eim.Kind{
	device.Download: eim.Download, device.Enable: eim.Enable, device.Disable: eim.Disable, device.Delete: eim.Delete,
}

func (m manager) Register(ctx context.Context, tx *db.Tx, one device.EUICC) error {
	return m.server.Register(ctx, tx, eim.EUICC(one))
}

func (m manager) Forget(ctx context.Context, tx *db.Tx, eid ident.EID) error {
	return m.server.Forget(ctx, tx, eid)
}

func (m manager) Queue(ctx context.Context, tx *db.Tx, t device.Task) error {
	return m.server.Queue(ctx, tx, eim.Task{
		ID: t.ID, EID: t.EID, Kind: kinds[t.Action], ICCID: t.ICCID, ActivationCode: t.ActivationCode,
		ConfirmationCode: t.ConfirmationCode, Rollback: t.Rollback, Until: t.Until,
	})
}

func (m manager) Cancel(ctx context.Context, tx *db.Tx, id string) (bool, error) {
	return m.server.Cancel(ctx, tx, id)
}

// profileTypes are the names of profile classes in the Remote Manager.
var profileTypes = map[rsp.ProfileClass]string{
	rsp.ClassTest: "test", rsp.ClassProvisioning: "bootstrap", rsp.ClassOperational: "operational",
}

func reportOf(i eim.Inventory) device.Report {
	r := device.Report{EID: i.EID, Evidence: i.Evidence, EvidenceKind: i.EvidenceKind, Witness: i.Witness, At: i.At}
	for _, p := range i.Profiles {
		if p.ICCID == "" {
			continue // an eUICC that does not name its profile: there is nothing to keep it under
		}
		r.Profiles = append(r.Profiles, reportedOf(p))
	}
	return r
}

func reportedOf(p iot.ProfileInfo) device.Reported {
	one := device.Reported{
		ICCID: p.ICCID, Active: p.Enabled != nil && *p.Enabled, Carrier: value(p.ServiceProvider), Name: value(p.Name),
		Type: profileTypes[rsp.ClassOperational],
	}
	if p.Class != nil {
		one.Type = profileTypes[*p.Class]
	}
	return one
}

// enrolled is the devices' domain and the eIM as the door of agents sees them.
type enrolled struct{ a *app }

func (e enrolled) Identify(d agentapi.Device) (string, error) { return identify(d) }

// identify makes the ID of a device from the first thing that is known of it.
func identify(d agentapi.Device) (string, error) {
	field, text, read := "device_id", d.ID, device.ParseID
	switch {
	case d.ID != "":
	case d.MAC != "":
		field, text, read = "mac", d.MAC, device.IDFromMAC
	case d.IMEI != "":
		field, text, read = "imei", d.IMEI, device.IDFromIMEI
	default:
		return "", fault.Field("device_id", "is missing: name the device by device_id, mac or imei")
	}
	id, err := read(text)
	if err != nil {
		return "", fault.Field(field, "%v", err)
	}
	return string(id), nil
}

func (e enrolled) ByInstallCode(ctx context.Context, q db.Query, id, code string) (string, error) {
	d, err := e.a.devices.ByInstallCode(ctx, q, device.ID(id), code)
	return d.Account, err
}

func (e enrolled) Belongs(ctx context.Context, q db.Query, account, id string) error {
	_, err := e.a.devices.FindDevice(ctx, q, account, device.ID(id))
	return err
}

func (e enrolled) Put(ctx context.Context, tx *db.Tx, by agentapi.By, id string, d agentapi.Device) error {
	patch := device.DevicePatch{ID: device.ID(id)}
	if d.MAC != "" {
		patch.MAC = &d.MAC
	}
	for _, one := range d.EUICCs {
		patch.EIDs = append(patch.EIDs, device.EIDPatch(one))
	}
	_, _, err := e.a.devices.PutDevice(ctx, tx, device.By{Account: by.Account, User: by.User, Source: "agent/v1"}, patch, device.PutOptions{})
	return err
}

func (e enrolled) Chips(ctx context.Context, q db.Query, id string) ([]ident.EID, error) {
	return device.EIDs(ctx, q, device.ID(id))
}

func (e enrolled) Known(ctx context.Context, q db.Query, account string, eid ident.EID) (agentapi.Known, error) {
	one, err := e.a.devices.FindESIM(ctx, q, account, eid)
	if fault.Is(err, fault.NotFound) {
		return agentapi.Known{}, nil
	}
	if err != nil {
		return agentapi.Known{}, err
	}
	itself, err := e.a.eim.SignsItself(ctx, q, eid)
	return agentapi.Known{Device: string(one.Device), Kind: one.Kind, SignsItself: itself}, err
}

func (e enrolled) Facts(ctx context.Context, tx *db.Tx, id string, f agentapi.Facts) error {
	facts := device.Facts{
		FirmwareVersion: f.FirmwareVersion, MAC: f.MAC, SerialNumber: f.SerialNumber, SKU: f.SKU, ProductID: f.ProductID,
		IP: f.IP, PhoneNumber: f.PhoneNumber,
	}
	facts.Modems[0] = device.Modem{
		IMEI: f.IMEI, ICCID: f.ICCID, Carrier: f.Carrier, Network: f.Network, APN: f.APN,
		SignalStrength: f.Strength, SignalPercent: f.Percent, SignalQuality: f.Quality,
	}
	return e.a.devices.PutFacts(ctx, tx, device.ID(id), facts)
}

func (e enrolled) Initial(ctx context.Context, q db.Query, eid ident.EID) ([]byte, error) {
	return e.a.initial(ctx, q, eid)
}

// initial returns what an eUICC is to be told of the eIM, DER.
func (a *app) initial(ctx context.Context, q db.Query, eid ident.EID) ([]byte, error) {
	c, err := a.eim.Initial(ctx, q, eid)
	if err != nil {
		return nil, fmt.Errorf("eIM configuration for %s: %w", eid, err)
	}
	return c.Append(nil), nil
}

// configuration is initial for callers without a transaction.
func (a *app) configuration(ctx context.Context, eid ident.EID) (der []byte, err error) {
	err = a.db.Read(ctx, func(q db.Query) error {
		der, err = a.initial(ctx, q, eid)
		return err
	})
	return der, err
}

// fieldUser proves a user of the Remote Manager who may register devices.
func (a *app) fieldUser(r *http.Request) (by agentapi.By, is bool, err error) {
	var c account.Caller
	if key := r.Header.Get("X-API-KEY-ID"); key != "" {
		c, err = a.accounts.VerifyUserKey(r.Context(), key, r.Header.Get("X-API-KEY-SECRET"))
	} else {
		name, password, basic := r.BasicAuth()
		if !basic || agentapi.NamesDevice(name, identify) {
			return by, false, nil
		}
		c, err = a.accounts.VerifyUser(r.Context(), name, password)
	}
	if err != nil {
		return by, true, err
	}
	if !c.Role.Writes() {
		return by, true, fault.New(fault.Forbidden, "a %s may not register devices", c.Role)
	}
	return agentapi.By{Account: c.Account, User: c.User}, true, nil
}
