package remote

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"godwit/device"
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

func (d *Door) monitors() resource[monitor.Monitor] {
	return resource[monitor.Monitor]{name: "monitors", schema: monitor.Schema, page: d.o.Monitors.Page, empty: monitorJSON{}, show: showMonitor}
}

func (d *Door) monitorRoutes() web.Routes {
	if d.o.Monitors == nil {
		return nil
	}
	return web.Routes{
		{Path: root + "/monitors", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/monitors/inventory", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(listOf(d, d.monitors())), http.MethodPost: d.writing(d.createMonitor),
		}},
		{Path: root + "/monitors/inventory/{id}", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(fetchOf(d, d.monitors(), monitorKey, d.o.Monitors.Get)), http.MethodPut: d.writing(d.updateMonitor),
			http.MethodDelete: d.writing(deleteOf(monitorKey, d.deleteMonitor)),
		}},
		{Path: root + "/monitors/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(exportOf(d, d.monitors()))}},
		{Path: root + "/monitors/history/{id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.monitorHistory)}},
	}
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

// monitorKey is the monitor in the path.
var monitorKey = key[int64]{"id", "id", func(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.New(fault.NotFound, "there is no monitor %.60q: monitors have numbers", text)
	}
	return id, nil
}}

func (d *Door) createMonitor(w http.ResponseWriter, r *web.Request) error {
	p, err := monitorOf(r)
	if err != nil {
		return err
	}
	m, err := d.o.Monitors.Create(r.Context(), monitor.By(by(r)), p)
	if err != nil {
		return err
	}
	return writeOne(d, w, r, http.StatusCreated, d.monitors(), m)
}

func (d *Door) updateMonitor(w http.ResponseWriter, r *web.Request) error {
	id, err := monitorKey.of(r)
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
	return writeOne(d, w, r, http.StatusOK, d.monitors(), m)
}

func (d *Door) deleteMonitor(ctx context.Context, by device.By, id int64) error {
	return d.o.Monitors.Delete(ctx, monitor.By(by), id)
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
	id, err := monitorKey.of(r)
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
