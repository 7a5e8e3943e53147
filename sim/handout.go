package sim

import (
	"context"
	"encoding/json"
	"fmt"

	"godwit/db"
	"godwit/ident"
	"godwit/rsp"
)

// A Handout is an SM-DP+ that keeps its stock in the domain's own database. It
// prepares profiles as part of the domain's transaction, where the calls of
// [Preparer] take several: all of it happens or nothing, so there is nothing to
// repeat.
type Handout interface {
	// HandOut returns what it could hand out as a matter of course, by the
	// number of the want. Nothing has happened to the others: the calls of
	// [Preparer] may do more, and they find the words for a refusal.
	HandOut(ctx context.Context, tx *db.Tx, wants []Want) (map[int]Handed, error)
}

// A Want asks for one profile that may be downloaded at once.
type Want struct {
	Type string
	EID  ident.EID
	Code bool // with a matching ID
}

// A Handed is a profile that may be downloaded.
type Handed struct {
	ICCID      ident.ICCID
	MatchingID ident.MatchingID
	Address    string // of the SM-DP+
}

// handOut has profiles handed out to reservations of which the SM-DP+ has not
// heard before. Those that are ready have its numbers, and the caller stores
// them. Those of taken have none, and are still being prepared: once stored they
// go to [Store.failHanded].
func (s *Store) handOut(ctx context.Context, tx *db.Tx, batch []*Profile) (ready []released, taken []refusal, err error) {
	if s.Handout == nil || len(batch) == 0 {
		return nil, nil, nil
	}
	wants := make([]Want, len(batch))
	for i, p := range batch {
		wants[i] = Want{p.Type, ident.EID(p.EID), p.WantsCode}
	}
	given, err := s.Handout.HandOut(ctx, tx, wants)
	if err != nil {
		return nil, nil, err
	}
	var got []*Profile
	for i, p := range batch {
		if r, ok := given[i]; ok {
			p.ICCID, p.MatchingID, p.Address = r.ICCID, r.MatchingID, bareHost(r.Address)
			got = append(got, p)
		}
	}
	inUse, err := iccidsTaken(ctx, tx, got)
	if err != nil {
		return nil, nil, err
	}
	proof, err := json.Marshal(rsp.ReleaseProfileResult{Header: rsp.Succeeded})
	if err != nil {
		return nil, nil, fmt.Errorf("write evidence: %w", err)
	}
	for _, p := range got {
		if !inUse[p.ICCID] {
			ready = append(ready, released{p, proof})
			continue
		}
		said, err := json.Marshal(rsp.DownloadOrderResult{Header: rsp.Succeeded, ICCID: p.ICCID})
		if err != nil {
			return nil, nil, fmt.Errorf("write evidence: %w", err)
		}
		taken = append(taken, refusal{p, p.ICCID, said})
		p.ICCID, p.MatchingID, p.Address = "", "", ""
	}
	return ready, taken, nil
}

// A refusal is a reservation that was handed a profile whose ICCID another one
// has.
type refusal struct {
	*Profile
	iccid ident.ICCID
	proof []byte
}

// failHanded ends reservations that were stored as being prepared.
func (s *Store) failHanded(ctx context.Context, tx *db.Tx, taken []refusal) error {
	for _, r := range taken {
		r.ICCID = r.iccid
		if err := s.failTaken(ctx, tx, r.Profile, r.proof); err != nil {
			return err
		}
	}
	return nil
}
