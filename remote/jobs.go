package remote

import (
	"net/http"
	"strconv"

	"godwit/device"
	"godwit/fault"
	"godwit/web"
)

// A jobJSON is a job of the system: an operation or a rollout.
type jobJSON struct {
	ID          int64  `json:"job_id"`
	Status      string `json:"job_status"`
	Type        string `json:"job_type"`
	Submitted   string `json:"job_submit_time"`
	Description string `json:"description,omitempty"`
	Operation   string `json:"operation_id,omitempty"` // ours
	Rollout     string `json:"rollout_id,omitempty"`   // ours
	CreatedBy   string `json:"created_by,omitempty"`
	Customer    int64  `json:"customer_id"`
	Updated     string `json:"updated"`
}

func showJob(x device.Job, customer int64) any {
	out := jobJSON{
		ID: x.ID, Status: string(x.Status), Type: x.Type, Submitted: at(x.CreatedAt), Description: x.Description, CreatedBy: x.CreatedBy, Customer: customer,
		Updated: at(x.UpdatedAt),
	}
	if x.Type == device.JobRollout {
		out.Rollout = x.Subject
	} else {
		out.Operation = x.Subject
	}
	return out
}

func (d *Door) jobs() resource[device.Job] {
	return resource[device.Job]{
		name: "jobs", schema: device.JobSchema, page: d.o.Devices.JobsPage, empty: jobJSON{},
		show: showJob,
	}
}

func (d *Door) jobRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/jobs", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/jobs/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(listOf(d, d.jobs()))}},
		{Path: root + "/jobs/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(exportOf(d, d.jobs()))}},
		{Path: root + "/jobs/cancel", Methods: map[string]web.Handler{http.MethodPut: d.writing(eachOf(d, d.jobs(), http.StatusOK, d.cancelJob))}},
		{Path: root + "/jobs/cancel/{job_id}", Methods: map[string]web.Handler{http.MethodPut: d.writing(changeOf(d, d.jobs(), jobKey, http.StatusOK, d.o.Devices.CancelJob))}},
		{Path: root + "/jobs/inventory/{job_id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(fetchOf(d, d.jobs(), jobKey, d.o.Devices.Job))}},
		{Path: root + "/jobs/{job_id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(fetchOf(d, d.jobs(), jobKey, d.o.Devices.Job))}},
	}
}

// jobKey is the job in the path.
var jobKey = key[int64]{"job_id", "job_id", func(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.New(fault.NotFound, "there is no job %.60q: jobs have numbers", text)
	}
	return id, nil
}}

// cancelJob cancels a job that a body names.
func (d *Door) cancelJob(r *web.Request, b *body) (x device.Job, context map[string]any, err error) {
	context = map[string]any{"job_id": b.values["job_id"]}
	id := b.number("job_id")
	if id == nil {
		b.fail("job_id", "is required")
	}
	if b.err != nil {
		return x, context, b.err
	}
	x, err = d.o.Devices.CancelJob(r.Context(), by(r), *id)
	return x, context, err
}
