package eim

import (
	"context"
	"fmt"
	"slices"

	"godwit/db"
	"godwit/iot"
	"godwit/rsp"
	"godwit/tlv"
)

// signed reports whether tasks of the kind are eUICC packages.
func (k Kind) signed() bool { return k != Download && k != Data }

// An unsendableError is why a task can never be sent.
type unsendableError struct{ err error }

func (e *unsendableError) Error() string { return e.err.Error() }

// listTags are the fields that a list of profiles is to have: all but icons,
// which would not fit into the answer of a small eUICC.
var listTags = []byte{
	0x5A, 0x4F, 0x9F, 0x70, 0x90, 0x91, 0x92, 0x95, 0xB6, 0xB7, 0x99, 0x9F, 0x7B, 0x9F, 0x26, 0x9F, 0x67,
}

// Fields that the first questions ask for, and those without which nothing goes
// on: an IPA that refuses the first list is asked for these.
var (
	contactTags = slices.Concat(neededTags, []tlv.Tag{iot.DataInfo1, iot.DataInfo2, iot.DataDefaultDP, iot.DataRootDS, iot.DataCapabilities, iot.DataDevice})
	neededTags  = []tlv.Tag{iot.DataEUMCertificate, iot.DataEUICCCertificate, iot.DataToken}
	resultTags  = []tlv.Tag{iot.DataResults}
)

// build makes the octets of a task's package: BF51, BF52 or BF54.
func (s *Server) build(ctx context.Context, q db.Query, e *euicc, t *task, counter int64) ([]byte, error) {
	switch t.kind {
	case Data:
		tags := contactTags
		if t.own && t.attempt%2 == 1 {
			tags = neededTags
		}
		d := iot.DataRequest{Tags: tags, CI: t.spec.CI, TransactionID: t.transaction()}
		return d.Append(nil), nil
	case Download:
		d := iot.DownloadTrigger{ActivationCode: t.spec.Code, DefaultDP: t.spec.Code == "", TransactionID: t.transaction()}
		return d.Append(nil), nil
	}
	if counter > iot.MaxCounter {
		return nil, &unsendableError{fmt.Errorf("the counter of this eUICC is used up: give it a new key of the eIM")}
	}
	p := iot.PackageRequest{EimID: s.cfg.ID, EID: e.eid, Counter: counter, TransactionID: t.transaction()}
	p.PSMO, p.ECO = t.commands()
	if err := p.Check(); err != nil {
		return nil, &unsendableError{err}
	}
	signer, err := s.signer(ctx, q, e.signingKey)
	if err != nil {
		return nil, err
	}
	return p.Sign(signer, e.tokenValue())
}

// commands are what a task has in its package: always one, so that there is
// one result which tells how it ended.
func (t *task) commands() ([]iot.PSMO, []iot.ECO) {
	psmo := func(p iot.PSMO) ([]iot.PSMO, []iot.ECO) { return []iot.PSMO{p}, nil }
	eco := func(o iot.ECO) ([]iot.PSMO, []iot.ECO) { return nil, []iot.ECO{o} }
	switch t.kind {
	case Enable:
		return psmo(iot.PSMO{Op: iot.OpEnable, ICCID: t.iccid, Rollback: t.spec.Rollback})
	case Disable:
		return psmo(iot.PSMO{Op: iot.OpDisable, ICCID: t.iccid})
	case Delete:
		return psmo(iot.PSMO{Op: iot.OpDelete, ICCID: t.iccid})
	case List:
		return psmo(iot.PSMO{Op: iot.OpList, List: &rsp.ProfileInfoListRequest{Tags: listTags}})
	case GetRAT:
		return psmo(iot.PSMO{Op: iot.OpGetRAT})
	case Immediate:
		i := t.spec.Immediate
		if i == nil {
			i = &iot.ImmediateEnable{Allowed: true}
		}
		return psmo(iot.PSMO{Op: iot.OpImmediate, Immediate: i})
	case SetFallback:
		return psmo(iot.PSMO{Op: iot.OpSetFallback, ICCID: t.iccid})
	case UnsetFallback:
		return psmo(iot.PSMO{Op: iot.OpDropFallback})
	case SetDefaultDP:
		return psmo(iot.PSMO{Op: iot.OpSetDefaultDP, Address: t.spec.Address})
	case AddEIM:
		return eco(iot.ECO{Op: iot.OpAddEim, Config: t.spec.EIM})
	case UpdateEIM:
		return eco(iot.ECO{Op: iot.OpUpdateEim, Config: t.spec.EIM})
	case DeleteEIM:
		return eco(iot.ECO{Op: iot.OpDeleteEim, EimID: t.spec.EIM.ID})
	case ListEIM:
		return eco(iot.ECO{Op: iot.OpListEim})
	}
	return nil, nil
}

// askResult makes the question for the result of a package that the eUICC says
// it has executed.
func askResult(t *task) []byte {
	d := iot.DataRequest{Tags: resultTags, TransactionID: t.transaction()}
	return d.Append(nil)
}
