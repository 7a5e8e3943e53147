package agentapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// mayName refuses what a device's own word is not enough for: what is stolen from
// one device must not be worth another chip's evidence, and two devices must not
// take one name from each other. A user may say all of it.
func (d *Door) mayName(ctx context.Context, tx *db.Tx, who voucher, chips []EUICC) error {
	for i, c := range chips {
		field := func(name string) string { return fmt.Sprintf("eids[%d].%s", i, name) }
		k, err := d.o.Devices.Known(ctx, tx, who.Account, c.EID)
		if err != nil {
			return err
		}
		switch {
		case c.Kind == "consumer" && k.SignsItself:
			return &fault.Error{
				Kind: fault.Forbidden, Field: field("kind"),
				Message: fmt.Sprintf("eUICC %s has proved that it signs for itself: that an agent is to do so from now on is for a user to say", c.EID),
			}
		case k.Device != "" && k.Device != who.device && (c.Kind == "consumer" || k.Kind == "consumer"):
			// No chip proves where it is when an agent signs for it.
			return &fault.Error{
				Kind: fault.Forbidden, Field: field("eid"),
				Message: fmt.Sprintf("eUICC %s is in device %s, and the agent that signs for it would be another one: that it has moved is for a user to say", c.EID, k.Device),
			}
		}
	}
	if who.token != "" {
		return nil
	}
	return d.single(ctx, tx, who, chips)
}

// A doubleError says that a second device came with an install code.
type doubleError struct {
	has, comes []ident.EID
}

func (e *doubleError) Error() string { return fmt.Sprintf("has %v, comes with %v", e.has, e.comes) }

// single refuses an install code that another device has enrolled with: they
// would take the token from each other for ever. It is the same device if it has
// one of the chips.
func (d *Door) single(ctx context.Context, tx *db.Tx, who voucher, chips []EUICC) error {
	var enrolled int64
	err := tx.QueryRowContext(ctx, `select enrolled_at from agent where device_id = $1`, who.device).Scan(&enrolled)
	if err != nil && !db.None(err) {
		return fmt.Errorf("read agent of %s: %w", who.device, err)
	}
	if enrolled == 0 {
		return nil
	}
	has, err := d.o.Devices.Chips(ctx, tx, who.device)
	if err != nil {
		return err
	}
	var comes []ident.EID
	for _, c := range chips {
		if slices.Contains(has, c.EID) {
			return nil
		}
		comes = append(comes, c.EID)
	}
	if len(has) == 0 {
		return nil
	}
	return &doubleError{has, comes}
}

// tellDouble refuses the second device and says so to those who look after both,
// once an hour.
func (d *Door) tellDouble(r *http.Request, who voucher, e *doubleError) error {
	refused := &fault.Error{
		Kind: fault.Conflict, Field: "eids",
		Message: fmt.Sprintf("device %s has enrolled already, with eUICC %s, and this one comes with %s: if another device has its install code, give each its own; "+
			"if the eUICC was replaced, a user has to name the new one with the device", who.device, list(e.has), list(e.comes)),
	}
	if key := who.device + "\x00" + string(e.comes[0]); d.doubles.Wait(key) == 0 {
		d.doubles.Spend(key)
		slog.WarnContext(r.Context(), "a second device has come with one install code", "device", who.device, "has", e.has, "comes", e.comes, "address", remote(r))
		if err := d.o.DB.Write(r.Context(), func(tx *db.Tx) error {
			return d.o.Events.Append(r.Context(), tx, event.Event{
				Kind: "agent.refused", Subject: who.device, Account: who.Account, At: d.o.Now(),
				Data: map[string]any{"by": who.User, "reason": refused.Message, "eids": e.comes, "enrolled_eids": e.has, "address": remote(r)},
			})
		}); err != nil {
			return fmt.Errorf("tell of a second device: %w", err)
		}
	}
	return refused
}

func list(eids []ident.EID) string {
	var texts []string
	for _, eid := range eids {
		texts = append(texts, string(eid))
	}
	return strings.Join(texts, ", ")
}
