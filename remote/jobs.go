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

func (d *Door) jobs(customer int64) resource[device.Job] {
	return resource[device.Job]{
		name: "jobs", schema: numbered(device.JobSchema, customer), page: d.o.Devices.JobsPage, empty: jobJSON{},
		show: func(x device.Job) any { return showJob(x, customer) },
	}
}

func (d *Door) jobRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/jobs", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/jobs/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.listJobs)}},
		{Path: root + "/jobs/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.exportJobs)}},
		{Path: root + "/jobs/cancel", Methods: map[string]web.Handler{http.MethodPut: d.writing(d.cancelJobs)}},
		{Path: root + "/jobs/cancel/{job_id}", Methods: map[string]web.Handler{http.MethodPut: d.writing(d.cancelJob)}},
		{Path: root + "/jobs/inventory/{job_id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchJob)}},
		{Path: root + "/jobs/{job_id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.fetchJob)}},
	}
}

func (d *Door) listJobs(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return listOf(d, w, r, d.jobs(customer), "")
}

func (d *Door) exportJobs(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return exportOf(d, w, r, d.jobs(customer), "")
}

// jobKey reads the job in the path. What is no number names nothing.
func jobKey(r *web.Request) (int64, error) {
	id, err := strconv.ParseInt(r.Param("job_id"), 10, 64)
	if err != nil {
		return 0, about(fault.New(fault.NotFound, "there is no job %.60q: jobs have numbers", r.Param("job_id")), "job_id", r.Param("job_id"))
	}
	return id, nil
}

func (d *Door) writeJob(w http.ResponseWriter, r *web.Request, id int64, x device.Job, err error) error {
	if err != nil {
		return about(err, "job_id", id)
	}
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, showJob(x, customer))
}

func (d *Door) fetchJob(w http.ResponseWriter, r *web.Request) error {
	id, err := jobKey(r)
	if err != nil {
		return err
	}
	x, err := d.o.Devices.Job(r.Context(), r.Caller.Account, id)
	return d.writeJob(w, r, id, x, err)
}

func (d *Door) cancelJob(w http.ResponseWriter, r *web.Request) error {
	id, err := jobKey(r)
	if err != nil {
		return err
	}
	x, err := d.o.Devices.CancelJob(r.Context(), by(r), id)
	return d.writeJob(w, r, id, x, err)
}

// cancelJobs cancels the job or jobs that the body names.
func (d *Door) cancelJobs(w http.ResponseWriter, r *web.Request) error {
	list, array, err := readBodies(r)
	if err != nil {
		return err
	}
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	out := make([]any, len(list))
	for i, b := range list {
		id := b.number("job_id")
		if id == nil {
			b.fail("job_id", "is required")
		}
		err := b.err
		var x device.Job
		if err == nil {
			x, err = d.o.Devices.CancelJob(r.Context(), by(r), *id)
		}
		switch {
		case err != nil && !isRefusal(err):
			return err
		case err != nil && !array:
			return about(err, "job_id", b.values["job_id"])
		case err != nil:
			out[i] = outcome(err, map[string]any{"job_id": b.values["job_id"]})
		default:
			out[i] = showJob(x, customer)
		}
	}
	if !array {
		return web.WriteJSON(w, http.StatusOK, out[0])
	}
	return writeMany(w, http.StatusOK, out)
}

func isRefusal(err error) bool {
	_, ok := fault.As(err)
	return ok
}
