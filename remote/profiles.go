package remote

import (
	"net/http"

	"godwit/db"
	"godwit/device"
	"godwit/ident"
	"godwit/web"
)

// A profileJSON is a profile, as its device has reported it.
type profileJSON struct {
	ICCID             string `json:"iccid"`
	EID               string `json:"eid"`
	DeviceID          string `json:"device_id"`
	ID                int64  `json:"id"`
	Carrier           string `json:"carrier,omitempty"`
	NormalizedCarrier string `json:"normalized_carrier,omitempty"`
	CodeCarrier       string `json:"code_carrier,omitempty"` // ours
	Name              string `json:"name,omitempty"`         // ours
	Status            string `json:"status"`
	Type              string `json:"type,omitempty"`
	Customer          int64  `json:"customer_id"`
	Created           string `json:"created,omitempty"` // ours
	Updated           string `json:"updated,omitempty"` // ours
}

func showProfile(x device.Profile, customer int64) any {
	return profileJSON{
		ICCID: string(x.ICCID), EID: string(x.EID), DeviceID: string(x.Device), ID: x.Number, Carrier: x.Carrier, NormalizedCarrier: x.NormalizedCarrier,
		CodeCarrier: x.CodeCarrier, Name: x.Name, Status: x.Status(), Type: x.Type, Customer: customer, Created: at(x.CreatedAt), Updated: at(x.UpdatedAt),
	}
}

// A transactionJSON is one action on one eSIM.
type transactionJSON struct {
	Transaction string `json:"transaction"`
	Action      string `json:"action"`
	Status      string `json:"status"`
	DeviceID    string `json:"device_id"`
	EID         string `json:"eid"`
	ICCID       string `json:"iccid,omitempty"`
	MessageCode string `json:"message_code,omitempty"`
	Message     string `json:"message,omitempty"`
	Customer    int64  `json:"customer_id"`
	Created     string `json:"created"`
	Updated     string `json:"updated"`
}

func showTransaction(x device.Transaction, customer int64) any {
	return transactionJSON{
		Transaction: x.ID, Action: string(x.Action), Status: string(x.Status), DeviceID: string(x.Device), EID: string(x.EID), ICCID: string(x.ICCID),
		MessageCode: x.MessageCode, Message: x.Message, Customer: customer, Created: at(x.CreatedAt), Updated: at(x.UpdatedAt),
	}
}

func (d *Door) profiles() resource[device.Profile] {
	return resource[device.Profile]{
		name: "esim_profiles", schema: device.ProfileSchema, page: d.o.Devices.ProfilesPage, empty: profileJSON{},
		show: showProfile,
	}
}

func (d *Door) transactions() resource[device.Transaction] {
	return resource[device.Transaction]{
		name: "esim_transactions", schema: device.TransactionSchema, page: d.o.Devices.TransactionsPage, empty: transactionJSON{},
		show: showTransaction,
	}
}

// txKey is the transaction in the path.
var txKey = key[string]{"tx", "transaction", idKey.parse}

func (d *Door) profileRoutes() web.Routes {
	return append(web.Routes{
		{Path: root + "/esim_profiles", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/esim_profiles/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(listOf(d, d.profiles()))}},
		{Path: root + "/esim_profiles/inventory/{iccid}", Methods: map[string]web.Handler{http.MethodGet: d.reading(fetchOf(d, d.profiles(), iccidKey, d.o.Devices.Profile))}},
		{Path: root + "/esim_profiles/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(exportOf(d, d.profiles()))}},
		{Path: root + "/esim_profiles/download", Methods: map[string]web.Handler{http.MethodPost: d.writing(d.download)}},
		{Path: root + "/esim_profiles/enable", Methods: map[string]web.Handler{http.MethodPost: d.writing(d.enable)}},
		{Path: root + "/esim_profiles/disable", Methods: map[string]web.Handler{http.MethodPost: d.writing(d.disable)}},
		{Path: root + "/esim_profiles/delete", Methods: map[string]web.Handler{http.MethodPost: d.writing(d.remove)}},
		{Path: root + "/esim_profiles/progress/{tx}", Methods: map[string]web.Handler{http.MethodGet: d.reading(fetchOf(d, d.transactions(), txKey, d.o.Devices.Transaction))}},
		{Path: root + "/esim_profiles/transactions/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(listOf(d, d.transactions()))}},
	}, d.operationRoutes()...)
}

func (d *Door) download(w http.ResponseWriter, r *web.Request) error {
	return d.act(w, r, device.Download)
}

func (d *Door) enable(w http.ResponseWriter, r *web.Request) error {
	return d.act(w, r, device.Enable)
}

func (d *Door) disable(w http.ResponseWriter, r *web.Request) error {
	return d.act(w, r, device.Disable)
}

func (d *Door) remove(w http.ResponseWriter, r *web.Request) error {
	return d.act(w, r, device.Delete)
}

// target reads which eSIM of which device a request is about, and names it in
// refusals. One without an EID is told the EID that the device has.
func (d *Door) target(r *web.Request, b *body) (id device.ID, eid ident.EID, context map[string]any) {
	context = map[string]any{}
	text := b.required("device_id")
	if text != "" {
		context["device_id"] = text
		var err error
		if id, err = device.ParseID(text); err != nil {
			b.fail("device_id", "is malformed: %v", err)
		}
	}
	if text = b.word("eid"); text == "" {
		b.fail("eid", "is required%s", d.only(r, id))
	} else {
		context["eid"] = text
		if err := ident.EIDForm(text); err != nil {
			b.fail("eid", "is malformed: %v", err)
		}
		eid = ident.EID(text)
	}
	return id, eid, context
}

// only says which eSIM a device has, where it is one of the caller's and has one.
func (d *Door) only(r *web.Request, id device.ID) (text string) {
	err := d.o.DB.Read(r.Context(), func(q db.Query) error {
		if _, err := d.o.Devices.FindDevice(r.Context(), q, r.Caller.Account, id); err != nil {
			return err
		}
		eids, err := device.EIDs(r.Context(), q, id)
		if err == nil && len(eids) == 1 {
			text = ": the eSIM of this device is " + string(eids[0])
		}
		return err
	})
	if err != nil {
		return ""
	}
	return text
}

// iccid reads the profile that a request is about, which may be left out.
func (b *body) iccid(context map[string]any) ident.ICCID {
	text := b.word("iccid")
	if text == "" {
		return ""
	}
	context["iccid"] = text
	iccid, err := device.ParseICCID(text)
	if err != nil {
		b.fail("iccid", "is malformed: %v", err)
	}
	return iccid
}

// act starts one action.
func (d *Door) act(w http.ResponseWriter, r *web.Request, action device.Action) error {
	b, err := readBody(r)
	if err != nil {
		return err
	}
	q := device.ActionRequest{Action: action}
	var context map[string]any
	q.Device, q.EID, context = d.target(r, b)
	if action != device.Download {
		b.required("iccid")
	}
	q.ICCID = b.iccid(context)
	if action == device.Download {
		q.ActivationCode, q.ConfirmationCode = db.Secret(b.word("activation_code")), db.Secret(b.word("confirmation_code"))
		if q.ICCID == "" && len(q.ActivationCode) == 0 {
			b.fail("iccid", "of a registered activation code is required, or an activation_code")
		}
	}
	if b.err != nil {
		return concerning{b.err, context}
	}
	x, err := d.o.Devices.Act(r.Context(), by(r), q)
	if err != nil {
		return concerning{err, context}
	}
	return writeOne(d, w, r, http.StatusOK, d.transactions(), x)
}
