package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"godwit/db"
	"godwit/eim"
	"godwit/fault"
	"godwit/ident"
	"godwit/iot"
	"godwit/remote"
)

// packages is the eIM as the door of the Remote Manager sees it, for packages
// that are no actions on a profile.
type packages struct {
	db     *db.DB
	server *eim.Server
}

func (p packages) Order(ctx context.Context, one remote.Package) (remote.Package, error) {
	id := make([]byte, 16)
	rand.Read(id)
	task := eim.Task{ID: hex.EncodeToString(id), EID: one.EID, Kind: eim.Kind(one.Kind), ICCID: one.ICCID, Address: one.Address}
	switch task.Kind {
	case eim.AddEIM, eim.UpdateEIM:
		c, err := iot.ParseEimConfiguration(one.Configuration)
		if err != nil {
			return one, fault.Field("eim_configuration_data", "is no EimConfigurationData: %v", err)
		}
		task.EIM = c
	case eim.DeleteEIM:
		task.EIM = &iot.EimConfiguration{ID: one.EIM}
	}
	var state eim.State
	err := p.db.Write(ctx, func(tx *db.Tx) (err error) {
		if err = p.server.Queue(ctx, tx, task); err == nil {
			state, err = p.server.State(ctx, tx, task.EID, task.ID)
		}
		return err
	})
	return shownPackage(state), named(err)
}

// fields are the door's names of what the eIM refuses.
var fields = map[string]string{"ICCID": "iccid", "Address": "address", "EIM": "eim_id", "Kind": "kind"}

func named(err error) error {
	refusal, ok := fault.As(err)
	if !ok || fields[refusal.Field] == "" {
		return err
	}
	return fault.Field(fields[refusal.Field], "%s", refusal.Message)
}

func (p packages) Package(ctx context.Context, eid ident.EID, id string) (one remote.Package, err error) {
	err = p.db.Read(ctx, func(q db.Query) error {
		state, err := p.server.State(ctx, q, eid, id)
		one = shownPackage(state)
		return err
	})
	return one, err
}

func (p packages) Recent(ctx context.Context, eid ident.EID, limit int) (list []remote.Package, err error) {
	err = p.db.Read(ctx, func(q db.Query) error {
		states, err := p.server.States(ctx, q, eid, limit)
		for _, s := range states {
			list = append(list, shownPackage(s))
		}
		return err
	})
	return list, err
}

func shownPackage(s eim.State) remote.Package {
	return remote.Package{
		ID: s.ID, EID: s.EID, Kind: string(s.Kind), ICCID: s.ICCID, Stage: string(s.Stage), Reason: s.Reason, Message: s.Message,
		CreatedAt: s.CreatedAt, EndedAt: s.EndedAt, Evidence: s.Evidence, Witness: s.Witness, AgentKey: s.AgentKey,
	}
}
