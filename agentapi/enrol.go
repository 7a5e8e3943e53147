package agentapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// maxChips is how many eUICCs a device may have.
const maxChips = 16

type enrolRequest struct {
	DeviceID string         `json:"device_id"`
	EIDs     []enrolledChip `json:"eids"`
	reported
}

type enrolledChip struct {
	EID      string `json:"eid"`
	Kind     string `json:"kind"`
	AgentKey []byte `json:"agent_key"`
}

type enrolAnswer struct {
	DeviceID string   `json:"device_id"`
	Token    string   `json:"token"`
	Poll     int      `json:"poll_seconds"`
	ESipa    string   `json:"esipa_url"`
	Eims     []eimFor `json:"eims"`
}

// eimFor is what a chip is to be associated with.
type eimFor struct {
	EID string `json:"eid"`
	Eim []byte `json:"eim"` // EimConfigurationData, DER
}

// enrol makes an agent known and gives it a token. Enrolling again replaces the
// token.
func (d *Door) enrol(w http.ResponseWriter, r *http.Request) (any, error) {
	var q enrolRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	who, err := d.proved(w, r)
	if err != nil {
		return nil, err
	}
	device := Device{ID: q.DeviceID, MAC: q.MAC, IMEI: q.IMEI}
	if device.EUICCs, err = chips(q.EIDs); err != nil {
		return nil, err
	}
	facts, err := q.facts()
	if err != nil {
		return nil, err
	}
	id := who.device
	if id == "" {
		if id, err = d.o.Devices.Identify(device); err != nil {
			return nil, err
		}
	} else if q.DeviceID != "" {
		if named, err := d.o.Devices.Identify(Device{ID: q.DeviceID}); err != nil || named != id {
			return nil, fault.Field("device_id", "the credentials are those of device %s, not of %.60q", id, q.DeviceID)
		}
	}
	answer := enrolAnswer{DeviceID: id, Poll: int(d.o.Poll / time.Second), ESipa: d.o.ESipa}
	err = d.o.DB.Write(r.Context(), func(tx *db.Tx) error {
		answer.Eims = nil
		if who.device != "" {
			if err := d.mayName(r.Context(), tx, who, device.EUICCs); err != nil {
				return err
			}
		}
		if err := d.o.Devices.Put(r.Context(), tx, who.By, id, device); err != nil {
			return err
		}
		if err := d.o.Devices.Facts(r.Context(), tx, id, facts); err != nil {
			return err
		}
		for _, c := range device.EUICCs {
			der, err := d.o.Devices.Initial(r.Context(), tx, c.EID)
			if err != nil {
				return err
			}
			answer.Eims = append(answer.Eims, eimFor{string(c.EID), der})
		}
		return d.keep(r.Context(), tx, who, id, q.reported, device.EUICCs, &answer)
	})
	if double, ok := errors.AsType[*doubleError](err); ok {
		return answer, d.tellDouble(r, who, double)
	}
	return answer, err
}

// keep stores the agent with a new token.
func (d *Door) keep(ctx context.Context, tx *db.Tx, who voucher, id string, q reported, chips []EUICC, answer *enrolAnswer) error {
	token, hash := newToken()
	answer.Token = token
	now := db.Micros(d.o.Now())
	// An agent that comes with its token may lose its power before it has kept
	// the new one.
	var previous []byte
	if who.token != "" {
		previous = hashOf(who.token)
	}
	if _, err := tx.ExecContext(ctx, `insert into agent (device_id, account_sid, token_hash, previous_hash, version, platform, hostname, booted_at, enrolled_by, enrolled_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		on conflict (device_id) do update set account_sid = $2, token_hash = $3, previous_hash = $4, version = $5, platform = $6, hostname = $7,
			booted_at = $8, enrolled_by = $9, enrolled_at = $10`,
		id, who.Account, hash, previous, q.Version, q.Platform, q.Hostname, q.booted(d.o.Now()), who.User, now); err != nil {
		return fmt.Errorf("store agent of %s: %w", id, err)
	}
	eids := make([]string, len(chips))
	keys := map[string][]byte{} // that evidence is proved with from now on
	for i, c := range chips {
		eids[i] = string(c.EID)
		if len(c.AgentKey) > 0 {
			keys[eids[i]] = c.AgentKey
		}
	}
	data := map[string]any{"by": who.User, "eids": eids, "version": q.Version}
	if len(keys) > 0 {
		data["agent_keys"] = keys
	}
	return d.o.Events.Append(ctx, tx, event.Event{Kind: "agent.enrolled", Subject: id, Account: who.Account, At: d.o.Now(), Data: data})
}

// A voucher is who vouches for an enrolment: a user, or the device itself.
type voucher struct {
	By
	device string // ID, where the device proved itself
	token  string // that it proved itself with
}

// proved finds out who vouches. Guesses are bounded: of one name from one
// address, and of one name at all.
func (d *Door) proved(w http.ResponseWriter, r *http.Request) (who voucher, err error) {
	name, password, basic := r.BasicAuth()
	token, isBearer := bearer(r)
	if isBearer {
		// A token is too long to be guessed: its name is the address.
		name = ""
	}
	here := name + "\x00" + remote(r)
	if wait := max(d.guesses.Wait(here), d.names.Wait(name)); wait > 0 && (basic || isBearer) {
		return who, tooMany(w, wait, "too many enrolments were refused")
	}
	who, err = d.vouch(r, token, isBearer, name, password, basic)
	if fault.Is(err, fault.Unauthorized) {
		d.guesses.Spend(here)
		if name != "" {
			d.names.Spend(name)
		}
	}
	return who, err
}

func (d *Door) vouch(r *http.Request, token string, isBearer bool, name, password string, basic bool) (who voucher, err error) {
	if isBearer {
		err = d.o.DB.Read(r.Context(), func(q db.Query) error {
			a, err := d.find(r.Context(), q, token)
			who = voucher{By: By{Account: a.Account, User: "agent " + a.Device}, device: a.Device, token: token}
			return err
		})
		return who, err
	}
	if by, is, err := d.o.User(r); is || err != nil {
		return voucher{By: by}, err
	}
	if !basic {
		return who, fault.New(fault.Unauthorized, "enrol with HTTP Basic: a user who may register devices, or the device ID and its install code; or with the agent's token")
	}
	id, is := named(name, d.o.Devices.Identify)
	if !is {
		return who, fault.New(fault.Unauthorized, "no user and no device has these credentials")
	}
	err = d.o.DB.Read(r.Context(), func(q db.Query) error {
		account, err := d.o.Devices.ByInstallCode(r.Context(), q, id, password)
		who = voucher{By: By{Account: account, User: "install code"}, device: id}
		return err
	})
	return who, err
}

// named reads the name in the credentials of a device: its ID, or what it is made
// of.
func named(name string, identify func(Device) (string, error)) (id string, is bool) {
	for _, d := range []Device{{ID: name}, {MAC: name}, {IMEI: name}} {
		if id, err := identify(d); err == nil {
			return id, true
		}
	}
	return "", false
}

// NamesDevice reports whether a name in HTTP Basic credentials is a device's, so
// that the password is an install code.
func NamesDevice(name string, identify func(Device) (string, error)) bool {
	_, is := named(name, identify)
	return name != "" && is
}

// chips reads the eUICCs of a request.
func chips(list []enrolledChip) ([]EUICC, error) {
	if len(list) == 0 || len(list) > maxChips {
		return nil, fault.Field("eids", "a device has 1 to %d eUICCs, not %d", maxChips, len(list))
	}
	out := make([]EUICC, len(list))
	for i, c := range list {
		field := func(name string) string { return fmt.Sprintf("eids[%d].%s", i, name) }
		if err := ident.EIDForm(c.EID); err != nil {
			return nil, fault.Field(field("eid"), "%v", err)
		}
		for _, other := range list[:i] {
			if other.EID == c.EID {
				return nil, fault.Field(field("eid"), "this EID is there twice")
			}
		}
		out[i] = EUICC{EID: ident.EID(c.EID), Kind: c.Kind, AgentKey: c.AgentKey}
		switch c.Kind {
		case "iot":
			if len(c.AgentKey) > 0 {
				return nil, fault.Field(field("agent_key"), "an eUICC of kind iot signs with its own key")
			}
		case "consumer":
			if err := checkKey(c.AgentKey); err != nil {
				return nil, fault.Field(field("agent_key"), "%v", err)
			}
		default:
			return nil, fault.Field(field("kind"), "is iot or consumer, not %.40q", c.Kind)
		}
	}
	return out, nil
}
