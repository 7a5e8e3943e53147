package remote

import (
	"net/http"
	"slices"

	"godwit/device"
	"godwit/web"
)

// An operationJSON is a multistep operation.
type operationJSON struct {
	ID          string `json:"id"`
	Operation   string `json:"operation"`
	Status      string `json:"status"`
	DeviceID    string `json:"device_id"`
	EID         string `json:"eid"`
	Carrier     string `json:"carrier,omitempty"`
	ICCID       string `json:"iccid,omitempty"`
	DownloadTx  string `json:"download_tx,omitempty"`
	EnableTx    string `json:"enable_tx,omitempty"`
	JobID       int64  `json:"job_id"`
	Cause       string `json:"cause"`
	CauseID     string `json:"cause_id,omitempty"`
	Rollout     string `json:"rollout,omitempty"`  // ours
	RetryOf     string `json:"retry_of,omitempty"` // ours
	CreatedBy   string `json:"created_by,omitempty"`
	Source      string `json:"source,omitempty"`
	Customer    int64  `json:"customer_id"`
	MessageCode string `json:"message_code,omitempty"`
	Message     string `json:"message,omitempty"`
	Created     string `json:"created"`
	Updated     string `json:"updated"`
}

func showOperation(x device.Operation, customer int64) any {
	return operationJSON{
		ID: x.ID, Operation: string(x.Work), Status: string(x.Status), DeviceID: string(x.Device), EID: string(x.EID), Carrier: x.Carrier, ICCID: string(x.ICCID),
		DownloadTx: x.DownloadTx, EnableTx: x.EnableTx, JobID: x.JobID, Cause: string(x.Cause), CauseID: x.CauseID, Rollout: x.Rollout, RetryOf: x.RetryOf,
		CreatedBy: x.CreatedBy, Source: x.Source, Customer: customer, MessageCode: x.MessageCode, Message: x.Message, Created: at(x.CreatedAt), Updated: at(x.UpdatedAt),
	}
}

func (d *Door) operations() resource[device.Operation] {
	return resource[device.Operation]{
		name: "esim_operations", schema: device.OperationSchema, page: d.o.Devices.OperationsPage, empty: operationJSON{},
		show: showOperation,
	}
}

func (d *Door) operationRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/esim_profiles/operations/inventory", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(listOf(d, d.operations())), http.MethodPost: d.writing(eachOf(d, d.operations(), http.StatusCreated, d.begin)),
		}},
		{Path: root + "/esim_profiles/operations/inventory/{id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(fetchOf(d, d.operations(), idKey, d.o.Devices.Operation))}},
		{Path: root + "/esim_profiles/operations/inventory/{id}/cancel", Methods: map[string]web.Handler{http.MethodPost: d.writing(changeOf(d, d.operations(), idKey, http.StatusOK, d.o.Devices.Cancel))}},
		{Path: root + "/esim_profiles/operations/inventory/{id}/retry", Methods: map[string]web.Handler{http.MethodPost: d.writing(changeOf(d, d.operations(), idKey, http.StatusCreated, d.o.Devices.Retry))}},
	}
}

// orderOf reads what an operation is to do.
func (d *Door) orderOf(r *web.Request, b *body) (o device.Order, context map[string]any, err error) {
	o.Device, o.EID, context = d.target(r, b)
	o.Work, o.Carrier = device.Work(b.required("operation")), b.word("carrier")
	if o.Work != "" && !slices.Contains(device.Works, o.Work) {
		b.fail("operation", "must be activate, download or enable, not %.40q", string(o.Work))
	}
	o.ICCID = b.iccid(context)
	if o.Carrier == "" && o.ICCID == "" {
		b.fail("carrier", "is required, or iccid")
	}
	return o, context, b.err
}

// begin starts the operation that a body asks for.
func (d *Door) begin(r *web.Request, b *body) (x device.Operation, context map[string]any, err error) {
	o, context, err := d.orderOf(r, b)
	if err != nil {
		return x, context, err
	}
	x, err = d.o.Devices.Begin(r.Context(), by(r), o)
	return x, context, err
}
