package main

import (
	"context"

	"godwit/db"
	"godwit/device"
	"godwit/eim"
	"godwit/ident"
	"godwit/remote"
	"godwit/rsp"
	"godwit/web"
)

// Devices in the field: this page joins package device, the eIM that reaches
// them, and the door of the Remote Manager API. None of them knows another.

// openDevices opens the devices of the database. What they want done goes to the
// eIM, and openEIM has it told what came of it.
func (a *app) openDevices() {
	a.devices = &device.Store{DB: a.db, Jobs: a.queue, Events: a.events, EIM: manager{a.eim}}
	a.devices.Register()
}

// remoteDoor is the door of the Remote Manager API.
func (a *app) remoteDoor(address web.Address, rates *web.Rates) *remote.Door {
	return remote.New(remote.Options{
		DB: a.db, Accounts: a.accounts, Devices: a.devices, Events: a.events, Address: address, Rates: rates, Concurrent: a.settings.Concurrent,
		Configuration: a.eimConfiguration,
	})
}

// eimConfiguration returns the EimConfigurationData for an eUICC, DER.
func (a *app) eimConfiguration(ctx context.Context, eid ident.EID) (der []byte, err error) {
	err = a.db.Read(ctx, func(q db.Query) error {
		c, err := a.eim.Initial(ctx, q, eid)
		if err != nil {
			return err
		}
		der = c.Append(nil)
		return nil
	})
	return der, err
}

// A manager is the eIM as package device sees it.
type manager struct{ *eim.Server }

func (m manager) Register(ctx context.Context, tx *db.Tx, e device.EUICC) error {
	return m.Server.Register(ctx, tx, eim.EUICC{EID: e.EID, AgentKey: e.AgentKey})
}

// kinds are the eIM's words for actions.
var kinds = map[device.Action]eim.Kind{
	device.Download: eim.Download, device.Enable: eim.Enable, device.Disable: eim.Disable, device.Delete: eim.Delete,
}

func (m manager) Queue(ctx context.Context, tx *db.Tx, t device.Task) error {
	return m.Server.Queue(ctx, tx, eim.Task{
		ID: t.ID, EID: t.EID, Kind: kinds[t.Action], ICCID: t.ICCID, ActivationCode: t.ActivationCode, ConfirmationCode: t.ConfirmationCode,
		Rollback: t.Rollback, Until: t.Until,
	})
}

// listenToEIM has package device told what the eIM learns.
func (a *app) listenToEIM(c *eim.Config) {
	c.Outcome = func(ctx context.Context, tx *db.Tx, o eim.Outcome) error {
		return a.devices.Outcome(ctx, tx, device.Outcome{
			TaskID: o.TaskID, EID: o.EID, Stage: device.Stage(o.Stage), ICCID: o.ICCID, Code: o.Code, Reason: o.Reason, Message: o.Message,
			Evidence: o.Evidence, EvidenceKind: o.EvidenceKind, Witness: o.Witness, At: o.At,
		})
	}
	c.Inventory = func(ctx context.Context, tx *db.Tx, i eim.Inventory) error {
		r := device.Report{EID: i.EID, Evidence: i.Evidence, EvidenceKind: i.EvidenceKind, Witness: i.Witness, At: i.At}
		for _, p := range i.Profiles {
			r.Profiles = append(r.Profiles, device.Reported{
				ICCID: p.ICCID, Active: p.Enabled != nil && *p.Enabled, Carrier: value(p.ServiceProvider), Name: value(p.Name), Type: profileType(p.Class),
			})
		}
		return a.devices.Report(ctx, tx, r)
	}
	c.Seen = func(ctx context.Context, list []eim.Sighting) error {
		seen := make([]device.Sighting, len(list))
		for i, s := range list {
			seen[i] = device.Sighting(s)
		}
		return a.devices.Seen(ctx, seen)
	}
}

// profileType says a profile's class in the words of the Remote Manager. Without
// one it is operational: SGP.22, 2.4a.1.
func profileType(c *rsp.ProfileClass) string {
	switch {
	case c == nil:
		return "operational"
	case *c == rsp.ClassTest:
		return "test"
	case *c == rsp.ClassProvisioning:
		return "bootstrap"
	default:
		return "operational"
	}
}
