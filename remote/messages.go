package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"godwit/device"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/monitor"
)

// What monitors tell: which events are about which resource, and how the record
// of one stands in a message.

// A topic is a resource that can be monitored.
type topic struct {
	name     string
	kinds    string // of its events
	inserted string // which of them says that the record is new
	deleted  string // and which that it is gone
	not      string // and which changes nothing
	key      string // the member with the record's key
	// record returns the record that an event is about, as it was then.
	record func(*Door, context.Context, event.Event, changed, int64) (any, error)
}

var topics = []topic{
	{
		name: "devices", kinds: "device.", inserted: "device.created", deleted: "device.deleted", key: "id",
		record: func(d *Door, ctx context.Context, e event.Event, c changed, customer int64) (any, error) {
			x, err := d.o.Devices.Device(ctx, e.Account, device.ID(e.Subject))
			if c.To != "" {
				x.ConnectionStatus = c.To
			}
			return showDevice(x, customer), err
		},
	},
	{
		name: "jobs", kinds: "job.", inserted: "job.in_progress", key: "job_id",
		record: func(d *Door, ctx context.Context, e event.Event, c changed, customer int64) (any, error) {
			id, err := strconv.ParseInt(e.Subject, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("event %d: %w", e.ID, err)
			}
			x, err := d.o.Devices.Job(ctx, e.Account, id)
			if c.past(&x.UpdatedAt, e.At, string(x.Status) == c.To) {
				x.Status = device.JobStatus(c.To)
			}
			return showJob(x, customer), err
		},
	},
	{
		name: "esim_profiles", kinds: "esim.profile_", inserted: "esim.profile_added", deleted: "esim.profile_removed", key: "iccid",
		record: func(d *Door, ctx context.Context, e event.Event, c changed, customer int64) (any, error) {
			x, err := d.o.Devices.ProfileOn(ctx, e.Account, ident.EID(e.Subject), ident.ICCID(c.ICCID))
			if fault.Is(err, fault.NotFound) {
				x = device.Profile{ICCID: ident.ICCID(c.ICCID), EID: ident.EID(e.Subject), Device: device.ID(c.Device), Number: c.Number, Carrier: c.Carrier, Type: c.Type, UpdatedAt: e.At}
				x.Active, err = c.Status == "active", nil
			}
			if c.past(&x.UpdatedAt, e.At, x.Status() == c.Status) {
				x.Active = c.Status == "active"
			}
			return showProfile(x, customer), err
		},
	},
	{
		name: "esim_transactions", kinds: "esim_transaction.", inserted: "esim_transaction.in_progress", not: "esim_transaction.late", key: "transaction",
		record: func(d *Door, ctx context.Context, e event.Event, c changed, customer int64) (any, error) {
			x, err := d.o.Devices.Transaction(ctx, e.Account, e.Subject)
			if c.past(&x.UpdatedAt, e.At, string(x.Status) == c.To && x.MessageCode == c.Code) {
				x.Status, x.ICCID, x.MessageCode, x.Message = device.TxStatus(c.To), ident.ICCID(c.ICCID), c.Code, c.Message
			}
			return showTransaction(x, customer), err
		},
	},
	{
		name: "esim_operations", kinds: "esim_operation.", inserted: "esim_operation.starting", key: "id",
		record: func(d *Door, ctx context.Context, e event.Event, c changed, customer int64) (any, error) {
			x, err := d.o.Devices.Operation(ctx, e.Account, e.Subject)
			if c.past(&x.UpdatedAt, e.At, string(x.Status) == c.To && x.MessageCode == c.Code) {
				x.Status, x.ICCID, x.MessageCode, x.Message = device.OpStatus(c.To), ident.ICCID(c.ICCID), c.Code, c.Message
				x.DownloadTx, x.EnableTx = c.DownloadTx, c.EnableTx
			}
			return showOperation(x, customer), err
		},
	},
}

// changed is what events say of the records that they are about.
type changed struct {
	To         string `json:"to"`
	Code       string `json:"message_code"`
	Message    string `json:"message"`
	ICCID      string `json:"iccid"`
	DownloadTx string `json:"download_tx"`
	EnableTx   string `json:"enable_tx"`
	Device     string `json:"device_id"`
	Number     int64  `json:"id"`
	Status     string `json:"status"`
	Carrier    string `json:"carrier"`
	Type       string `json:"type"`
}

// past reports whether a record has moved on since an event, and dates it back
// then: each message shows the step that it is about.
func (c changed) past(updated *time.Time, at time.Time, same bool) bool {
	if same || c.To == "" && c.Status == "" { // such as one whose details were erased
		return false
	}
	*updated = at
	return true
}

// changes reads what an event says.
func changes(e event.Event) (c changed) {
	if data, ok := e.Data.(json.RawMessage); ok {
		_ = json.Unmarshal(data, &c) // what is not there says nothing
	}
	return c
}

// monitored is the door as monitors see it.
type monitored struct{ d *Door }

// Monitored is what monitors can tell.
func (d *Door) Monitored() monitor.Source { return monitored{d} }

// Topics lists the resources that can be monitored.
func (monitored) Topics() []string {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.name
	}
	return names
}

// Kinds returns the kinds of events that are about a resource.
func (monitored) Kinds(name string) []string {
	for _, t := range topics {
		if t.name == name {
			return []string{t.kinds + "%"}
		}
	}
	return nil
}

func topicOf(e event.Event) (topic, bool) {
	i := slices.IndexFunc(topics, func(t topic) bool { return strings.HasPrefix(e.Kind, t.kinds) && e.Kind != t.not })
	if i < 0 {
		return topic{}, false
	}
	return topics[i], true
}

// About returns the resource and the key of the record that an event is about.
func (monitored) About(e event.Event) (name, key string, ok bool) {
	t, ok := topicOf(e)
	if !ok || t.key != "iccid" {
		return t.name, e.Subject, ok
	}
	iccid := changes(e).ICCID // an eSIM has several profiles
	return t.name, iccid, iccid != ""
}

// Message returns the message of an event.
func (m monitored) Message(ctx context.Context, e event.Event) ([]byte, error) {
	name, key, ok := m.About(e)
	t, _ := topicOf(e)
	if !ok {
		return nil, fmt.Errorf("event %d (%s) is about nothing that is monitored", e.ID, e.Kind)
	}
	customer, err := m.d.customer(ctx, e.Account)
	if err != nil {
		return nil, err
	}
	operation := "UPDATE"
	switch e.Kind {
	case t.inserted:
		operation = "INSERTION"
	case t.deleted:
		operation = "DELETION"
	}
	record, err := t.show(ctx, m.d, e, key, customer)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"timestamp": at(e.At), "operation": operation, "topic": strconv.FormatInt(customer, 10) + "/" + name + "/" + key, name: record,
	})
}

// show returns the record of a message; of one that is gone, its key.
func (t topic) show(ctx context.Context, d *Door, e event.Event, key string, customer int64) (any, error) {
	record, err := t.record(d, ctx, e, changes(e), customer)
	if fault.Is(err, fault.NotFound) {
		var name any = key
		if t.key == "job_id" {
			name = json.Number(key)
		}
		return map[string]any{t.key: name, "customer_id": customer}, nil
	}
	return record, err
}
