package remote

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"godwit/event"
	"godwit/fault"
	"godwit/monitor"
	"godwit/web"
)

// A monitorJSON is a monitor. Credentials go in and never come out.
type monitorJSON struct {
	ID            int64    `json:"id"`
	Type          string   `json:"type"`
	Topics        []string `json:"topics"`
	URL           string   `json:"url,omitempty"`
	Method        string   `json:"method,omitempty"`
	Format        string   `json:"format"`
	Headers       []string `json:"headers,omitempty"` // names
	Persistent    bool     `json:"persistent"`
	BatchSize     int64    `json:"batch_size"`
	BatchDuration int64    `json:"batch_duration"`
	Compression   string   `json:"compression"`
	Description   string   `json:"description,omitempty"`
	Status        string   `json:"status"`
	FailingSince  string   `json:"failing_since,omitempty"` // ours
	LastError     string   `json:"last_error,omitempty"`    // ours
	LastConnect   string   `json:"last_connect,omitempty"`
	LastSent      string   `json:"last_sent,omitempty"`
	CreatedBy     string   `json:"created_by,omitempty"`
	Customer      int64    `json:"customer_id"`
	Created       string   `json:"created"`
	Updated       string   `json:"updated"`
}

func showMonitor(m monitor.Monitor, customer int64) any {
	return monitorJSON{
		ID: m.ID, Type: string(m.Type), Topics: m.Topics, URL: m.URL, Method: m.Method, Format: "json", Headers: m.HeaderNames, Persistent: m.Persistent,
		BatchSize: m.BatchSize, BatchDuration: m.BatchDuration, Compression: m.Compression, Description: m.Description, Status: string(m.Status),
		FailingSince: at(m.FailingSince), LastError: m.LastError, LastConnect: at(m.LastConnect), LastSent: at(m.LastSent), CreatedBy: m.CreatedBy,
		Customer: customer, Created: at(m.CreatedAt), Updated: at(m.UpdatedAt),
	}
}

func (d *Door) monitors(customer int64) resource[monitor.Monitor] {
	return resource[monitor.Monitor]{
		name: "monitors", schema: numbered(monitor.Schema, customer), page: d.o.Monitors.Page, empty: monitorJSON{},
		show: func(m monitor.Monitor) any { return showMonitor(m, customer) },
	}
}

func (d *Door) monitorRoutes() web.Routes {
	if d.o.Monitors == nil {
		return nil
	}
	return web.Routes{
		{Path: root + "/monitors", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/monitors/inventory", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(d.listMonitors), http.MethodPost: d.writing(d.createMonitor),
		}},
		{Path: root + "/monitors/inventory/{id}", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(d.fetchMonitor), http.MethodPut: d.writing(d.updateMonitor), http.MethodDelete: d.writing(d.deleteMonitor),
		}},
		{Path: root + "/monitors/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.exportMonitors)}},
		{Path: root + "/monitors/history/{id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.monitorHistory)}},
	}
}

func (d *Door) listMonitors(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return listOf(d, w, r, d.monitors(customer), "")
}

func (d *Door) exportMonitors(w http.ResponseWriter, r *web.Request) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return exportOf(d, w, r, d.monitors(customer), "")
}

// monitorOf reads what a request says of a monitor.
func monitorOf(r *web.Request) (monitor.Patch, error) {
	b, err := readBody(r)
	if err != nil {
		return monitor.Patch{}, err
	}
	if _, text := b.values["headers"].(string); text {
		b.fail("headers", `must be an array of texts like "Name: value"`) // a comma may be part of one
	}
	return monitor.Patch{
		Type: b.text("type"), Topics: b.texts("topics"), URL: b.text("url"), Method: b.text("method"), Format: b.text("format"), Headers: b.texts("headers"),
		AuthToken: b.text("auth_token"), Persistent: b.truth("persistent"), BatchSize: b.number("batch_size"), BatchDuration: b.number("batch_duration"),
		Compression: b.text("compression"), SchemaType: b.text("schema_type"), Schema: b.text("schema"), Description: b.text("description"), Status: b.text("status"),
	}, b.err
}

// monitorKey reads the monitor in the path. What is no number names nothing.
func monitorKey(r *web.Request) (int64, error) {
	id, err := strconv.ParseInt(r.Param("id"), 10, 64)
	if err != nil {
		return 0, about(fault.New(fault.NotFound, "there is no monitor %.60q: monitors have numbers", r.Param("id")), "id", r.Param("id"))
	}
	return id, nil
}

func (d *Door) writeMonitor(w http.ResponseWriter, r *web.Request, status int, m monitor.Monitor) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, status, showMonitor(m, customer))
}

func (d *Door) createMonitor(w http.ResponseWriter, r *web.Request) error {
	p, err := monitorOf(r)
	if err != nil {
		return err
	}
	m, err := d.o.Monitors.Create(r.Context(), monitor.By(by(r)), p)
	if err != nil {
		return err
	}
	return d.writeMonitor(w, r, http.StatusCreated, m)
}

func (d *Door) fetchMonitor(w http.ResponseWriter, r *web.Request) error {
	id, err := monitorKey(r)
	if err != nil {
		return err
	}
	m, err := d.o.Monitors.Get(r.Context(), r.Caller.Account, id)
	if err != nil {
		return about(err, "id", id)
	}
	return d.writeMonitor(w, r, http.StatusOK, m)
}

func (d *Door) updateMonitor(w http.ResponseWriter, r *web.Request) error {
	id, err := monitorKey(r)
	if err != nil {
		return err
	}
	p, err := monitorOf(r)
	if err != nil {
		return about(err, "id", id)
	}
	m, err := d.o.Monitors.Update(r.Context(), monitor.By(by(r)), id, p)
	if err != nil {
		return about(err, "id", id)
	}
	return d.writeMonitor(w, r, http.StatusOK, m)
}

func (d *Door) deleteMonitor(w http.ResponseWriter, r *web.Request) error {
	id, err := monitorKey(r)
	if err != nil {
		return err
	}
	if err := d.o.Monitors.Delete(r.Context(), monitor.By(by(r)), id); err != nil {
		return about(err, "id", id)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// A historyJSON is a page of messages. polling_cursor is where the next request
// goes on, now or when there is more; cursor is there only if there is more already.
type historyJSON struct {
	Count         int               `json:"count"`
	Size          int               `json:"size"`
	Cursor        string            `json:"cursor,omitempty"`
	NextURI       string            `json:"next_uri,omitempty"`
	PollingCursor string            `json:"polling_cursor"`
	List          []json.RawMessage `json:"list"`
}

// monitorHistory answers with what a monitor has had to tell. It changes
// nothing: the client's cursor says what it has.
func (d *Door) monitorHistory(w http.ResponseWriter, r *web.Request) error {
	id, err := monitorKey(r)
	if err != nil {
		return err
	}
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	sizeText, cursor := f.String("size"), f.Optional("cursor")
	if err := f.Err(); err != nil {
		return err
	}
	size := uint64(maxPage)
	if sizeText != "" {
		if size, err = strconv.ParseUint(sizeText, 10, 31); err != nil || size == 0 {
			return about(fault.Field("size", "must be a whole number from 1, not %.40q", sizeText), "size", sizeText)
		}
	}
	size = min(size, maxPage)
	row := cursorRow(r.Caller.Account, "monitors/history/"+strconv.FormatInt(id, 10))
	var from event.Place
	if cursor != nil {
		sealed, err := base64.RawURLEncoding.DecodeString(*cursor)
		if err == nil {
			sealed, err = d.o.DB.Unseal(row, sealed)
		}
		if err == nil {
			err = json.Unmarshal(sealed, &from)
		}
		if err != nil {
			return about(fault.Field("cursor", "is not one that this list has given out"), "cursor", *cursor)
		}
	}
	list, next, more, err := d.o.Monitors.History(r.Context(), r.Caller.Account, id, from, int(size))
	if err != nil {
		return about(err, "id", id)
	}
	place, err := json.Marshal(next)
	if err != nil {
		return err
	}
	out := historyJSON{
		Count: len(list), Size: int(size), List: make([]json.RawMessage, len(list)), PollingCursor: base64.RawURLEncoding.EncodeToString(d.o.DB.Seal(row, place)),
	}
	for i, m := range list {
		out.List[i] = m.JSON
	}
	if more {
		out.Cursor = out.PollingCursor
		out.NextURI = r.URL.EscapedPath() + "?size=" + strconv.Itoa(int(size)) + "&cursor=" + url.QueryEscape(out.Cursor)
	}
	return web.WriteJSON(w, http.StatusOK, out)
}
