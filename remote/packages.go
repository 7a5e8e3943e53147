package remote

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"godwit/explain"
	"godwit/fault"
	"godwit/ident"
	"godwit/web"
)

// Packages of the eIM that are no actions on a profile of a device's owner: ours.

// A Package is one thing that the eIM has an eUICC or its IPA do.
type Package struct {
	ID              string
	EID             ident.EID
	Kind            string // one of [PackageKinds]
	ICCID           ident.ICCID
	Address         string // of the default SM-DP+
	Configuration   []byte // EimConfigurationData, DER: of add-eim and update-eim
	EIM             string // identifier: of delete-eim
	Stage           string
	Reason, Message string
	CreatedAt       time.Time
	EndedAt         time.Time
	Evidence        []byte
	Witness         string
	AgentKey        []byte // SubjectPublicKeyInfo that proved the evidence, where an agent signed
}

// PackageKinds are the kinds that can be asked for.
var PackageKinds = []string{
	"list", "get-rat", "immediate", "set-fallback", "unset-fallback", "set-default-dp",
	"add-eim", "update-eim", "delete-eim", "list-eim", "data",
}

// Packages is the eIM as this door sees it. What is refused is a *fault.Error.
type Packages interface {
	Order(ctx context.Context, p Package) (Package, error)
	Package(ctx context.Context, eid ident.EID, id string) (Package, error)
	// Recent returns the newest packages of an eUICC.
	Recent(ctx context.Context, eid ident.EID, limit int) ([]Package, error)
}

// A packageJSON is one package, with what was answered.
type packageJSON struct {
	ID       string `json:"id"`
	EID      string `json:"eid"`
	Kind     string `json:"kind"`
	ICCID    string `json:"iccid,omitempty"`
	Stage    string `json:"stage"`
	Reason   string `json:"message_code,omitempty"`
	Message  string `json:"message,omitempty"`
	Created  string `json:"created"`
	Ended    string `json:"ended,omitempty"`
	Witness  string `json:"witness,omitempty"`
	AgentKey string `json:"agent_key,omitempty"` // base64 of a SubjectPublicKeyInfo
	Evidence string `json:"evidence,omitempty"`  // base64, as it came
	Words    string `json:"evidence_text,omitempty"`
}

func showPackage(p Package) packageJSON {
	out := packageJSON{
		ID: p.ID, EID: string(p.EID), Kind: p.Kind, ICCID: string(p.ICCID), Stage: p.Stage, Reason: p.Reason, Message: p.Message,
		Created: at(p.CreatedAt), Ended: at(p.EndedAt), Witness: p.Witness,
		AgentKey: base64.StdEncoding.EncodeToString(p.AgentKey),
	}
	if len(p.Evidence) > 0 {
		out.Evidence = base64.StdEncoding.EncodeToString(p.Evidence)
		if tree, err := explain.Message(p.Evidence); err == nil {
			out.Words = explain.Tree(tree)
		}
	}
	return out
}

// recentPackages is how many a list shows.
const recentPackages = 100

func (d *Door) packages(r *web.Request) (Packages, ident.EID, error) {
	x, err := d.esim(r)
	if err == nil && d.o.Packages == nil {
		err = fault.New(fault.NotFound, "this server has no eIM")
	}
	return d.o.Packages, x.EID, err
}

func (d *Door) orderPackage(w http.ResponseWriter, r *web.Request) error {
	eim, eid, err := d.packages(r)
	if err != nil {
		return err
	}
	b, err := readBody(r)
	if err != nil {
		return err
	}
	p := Package{EID: eid}
	for name, into := range map[string]*string{"kind": &p.Kind, "address": &p.Address, "eim_id": &p.EIM} {
		if v := b.text(name); v != nil {
			*into = *v
		}
	}
	if v := b.text("iccid"); v != nil {
		p.ICCID = ident.ICCID(*v)
	}
	if v := b.text("eim_configuration_data"); v != nil {
		if p.Configuration, err = base64.StdEncoding.DecodeString(*v); err != nil {
			b.fail("eim_configuration_data", "must be EimConfigurationData, DER in base64: %v", err)
		}
	}
	if b.err == nil && !slices.Contains(PackageKinds, p.Kind) {
		b.fail("kind", "must be one of %s, not %.40q", strings.Join(PackageKinds, ", "), p.Kind)
	}
	if b.err != nil {
		return about(b.err, "eid", eid)
	}
	if p.Kind == "set-fallback" && p.ICCID != "" { // one that is there, as it is written there
		on, err := d.o.Devices.ProfileOn(r.Context(), r.Caller.Account, eid, p.ICCID)
		if err != nil {
			return concerning{err, map[string]any{"eid": eid, "iccid": p.ICCID}}
		}
		p.ICCID = on.ICCID
	}
	p, err = eim.Order(r.Context(), p)
	if err != nil {
		return about(err, "eid", eid)
	}
	return web.WriteJSON(w, http.StatusOK, showPackage(p))
}

func (d *Door) fetchPackage(w http.ResponseWriter, r *web.Request) error {
	eim, eid, err := d.packages(r)
	if err != nil {
		return err
	}
	p, err := eim.Package(r.Context(), eid, r.Param("id"))
	if err != nil {
		return about(err, "id", r.Param("id"))
	}
	return web.WriteJSON(w, http.StatusOK, showPackage(p))
}

// A packagesJSON is the newest packages of an eUICC.
type packagesJSON struct {
	Count int           `json:"count"`
	List  []packageJSON `json:"list"`
}

func (d *Door) listPackages(w http.ResponseWriter, r *web.Request) error {
	eim, eid, err := d.packages(r)
	if err != nil {
		return err
	}
	list, err := eim.Recent(r.Context(), eid, recentPackages)
	if err != nil {
		return about(err, "eid", eid)
	}
	out := packagesJSON{Count: len(list), List: []packageJSON{}}
	for _, p := range list {
		out.List = append(out.List, showPackage(p))
	}
	return web.WriteJSON(w, http.StatusOK, out)
}
