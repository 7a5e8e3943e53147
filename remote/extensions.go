package remote

import (
	"net/http"

	"godwit/device"
	"godwit/web"
)

// What the hosted service does otherwise, or not at all: rollouts over many
// devices, rules by which operations begin, names of carriers.

// A rolloutJSON is one operation over many eSIMs.
type rolloutJSON struct {
	ID          string `json:"id"`
	Name        string `json:"name,omitempty"`
	Status      string `json:"status"`
	Operation   string `json:"operation"`
	Carrier     string `json:"carrier,omitempty"`
	Query       string `json:"query,omitempty"`
	Waves       []int  `json:"waves"`
	FailureRate int    `json:"failure_rate"`
	Retries     int    `json:"retries"`
	Wave        int    `json:"wave"`
	Targets     int64  `json:"targets"`
	Begun       int64  `json:"begun"`
	Succeeded   int64  `json:"succeeded"`
	Failed      int64  `json:"failed"`
	Message     string `json:"message,omitempty"`
	JobID       int64  `json:"job_id"`
	CreatedBy   string `json:"created_by,omitempty"`
	Source      string `json:"source,omitempty"`
	Customer    int64  `json:"customer_id"`
	Created     string `json:"created"`
	Updated     string `json:"updated"`
}

func showRollout(x device.Rollout, customer int64) any {
	return rolloutJSON{
		ID: x.ID, Name: x.Name, Status: string(x.Status), Operation: string(x.Work), Carrier: x.Carrier, Query: x.Query, Waves: x.Waves,
		FailureRate: x.FailureRate, Retries: x.Retries, Wave: x.Wave + 1, Targets: x.Targets, Begun: x.Begun, Succeeded: x.Succeeded, Failed: x.Failed,
		Message: x.Message, JobID: x.JobID, CreatedBy: x.CreatedBy, Source: x.Source, Customer: customer, Created: at(x.CreatedAt), Updated: at(x.UpdatedAt),
	}
}

func (d *Door) rollouts() resource[device.Rollout] {
	return resource[device.Rollout]{
		name: "rollouts", schema: device.RolloutSchema, page: d.o.Devices.RolloutsPage, empty: rolloutJSON{},
		show: showRollout,
	}
}

// A previewJSON is what a rollout would do now.
type previewJSON struct {
	Devices   int64   `json:"devices"`
	ESIMs     int64   `json:"esims"`
	Active    int64   `json:"active"`
	Present   int64   `json:"present"`
	Download  int64   `json:"download"`
	Codes     int64   `json:"codes"`
	Busy      int64   `json:"busy"`
	WaveSizes []int64 `json:"wave_sizes"`
}

// A ruleJSON is an automation or a template.
type ruleJSON struct {
	ID        string `json:"id"`
	Cause     string `json:"cause"`
	Name      string `json:"name,omitempty"`
	Enabled   bool   `json:"enabled"`
	OnFirst   bool   `json:"on_first"`
	OnLost    bool   `json:"on_lost"`
	Group     string `json:"group,omitempty"`
	Type      string `json:"type,omitempty"`
	Operation string `json:"operation"`
	Carrier   string `json:"carrier,omitempty"`
	CreatedBy string `json:"created_by,omitempty"`
	Customer  int64  `json:"customer_id"`
	Created   string `json:"created"`
	Updated   string `json:"updated"`
}

func showRule(x device.Rule, customer int64) any {
	return ruleJSON{
		ID: x.ID, Cause: string(x.Cause), Name: x.Name, Enabled: x.Enabled, OnFirst: x.OnFirst, OnLost: x.OnLost, Group: x.Group, Type: x.Type,
		Operation: string(x.Work), Carrier: x.Carrier, CreatedBy: x.CreatedBy, Customer: customer, Created: at(x.CreatedAt), Updated: at(x.UpdatedAt),
	}
}

func (d *Door) rules() resource[device.Rule] {
	return resource[device.Rule]{
		name: "esim_rules", schema: device.RuleSchema, page: d.o.Devices.RulesPage, empty: ruleJSON{},
		show: showRule,
	}
}

// An aliasJSON is another name of a carrier.
type aliasJSON struct {
	Alias   string `json:"alias"`
	Carrier string `json:"carrier"`
}

// aliasKey is the alias in the path.
var aliasKey = key[string]{"alias", "alias", idKey.parse}

func (d *Door) extensionRoutes() web.Routes {
	return web.Routes{
		{Path: root + "/rollouts", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/rollouts/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(listOf(d, d.rollouts())), http.MethodPost: d.writing(d.startRollout)}},
		{Path: root + "/rollouts/preview", Methods: map[string]web.Handler{http.MethodPost: d.reading(d.previewRollout)}},
		{Path: root + "/rollouts/inventory/{id}", Methods: map[string]web.Handler{http.MethodGet: d.reading(fetchOf(d, d.rollouts(), idKey, d.o.Devices.Rollout))}},
		{Path: root + "/rollouts/inventory/{id}/continue", Methods: map[string]web.Handler{http.MethodPost: d.writing(changeOf(d, d.rollouts(), idKey, http.StatusOK, d.o.Devices.ContinueRollout))}},
		{Path: root + "/rollouts/inventory/{id}/cancel", Methods: map[string]web.Handler{http.MethodPost: d.writing(changeOf(d, d.rollouts(), idKey, http.StatusOK, d.o.Devices.CancelRollout))}},
		{Path: root + "/esim_rules", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/esim_rules/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(listOf(d, d.rules())), http.MethodPost: d.writing(d.createRule)}},
		{Path: root + "/esim_rules/inventory/{id}", Methods: map[string]web.Handler{
			http.MethodGet: d.reading(fetchOf(d, d.rules(), idKey, d.o.Devices.Rule)), http.MethodPut: d.writing(d.updateRule), http.MethodDelete: d.writing(deleteOf(idKey, d.o.Devices.DeleteRule)),
		}},
		{Path: root + "/carriers", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/carriers/aliases", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.listAliases), http.MethodPost: d.writing(d.putAlias)}},
		{Path: root + "/carriers/aliases/{alias}", Methods: map[string]web.Handler{http.MethodDelete: d.writing(deleteOf(aliasKey, d.o.Devices.DeleteAlias))}},
		{Path: root + "/events", Methods: map[string]web.Handler{http.MethodGet: d.reading(d.summary)}},
		{Path: root + "/events/inventory", Methods: map[string]web.Handler{http.MethodGet: d.reading(listOf(d, d.events(), eventFilter))}},
		{Path: root + "/events/bulk", Methods: map[string]web.Handler{http.MethodGet: d.reading(exportOf(d, d.events(), eventFilter))}},
	}
}

// rolloutOf reads a rollout of a request.
func rolloutOf(r *web.Request) (device.RolloutOrder, error) {
	b, err := readBody(r)
	if err != nil {
		return device.RolloutOrder{}, err
	}
	o := device.RolloutOrder{Name: b.word("name"), Work: device.Work(b.required("operation")), Carrier: b.required("carrier"), Query: b.word("query")}
	if list, ok := b.values["waves"].([]any); ok {
		for _, one := range list {
			inner := &body{values: map[string]any{"waves": one}}
			n := inner.number("waves")
			if n == nil || *n < 0 || *n > 100 {
				b.fail("waves", "must be an array of percentages")
				break
			}
			o.Waves = append(o.Waves, int(*n))
		}
	} else if b.has("waves") {
		b.fail("waves", "must be an array of percentages")
	}
	o.FailureRate = 10
	if n := b.number("failure_rate"); n != nil {
		o.FailureRate = int(max(min(*n, 1000), -1))
	}
	if n := b.number("retries"); n != nil {
		o.Retries = int(max(min(*n, 1000), -1))
	}
	return o, b.err
}

func (d *Door) startRollout(w http.ResponseWriter, r *web.Request) error {
	o, err := rolloutOf(r)
	if err != nil {
		return err
	}
	x, err := d.o.Devices.StartRollout(r.Context(), by(r), o)
	if err != nil {
		return err
	}
	return writeOne(d, w, r, http.StatusCreated, d.rollouts(), x)
}

func (d *Door) previewRollout(w http.ResponseWriter, r *web.Request) error {
	o, err := rolloutOf(r)
	if err != nil {
		return err
	}
	p, err := d.o.Devices.PreviewRollout(r.Context(), by(r), o)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, previewJSON{p.Devices, p.ESIMs, p.Active, p.Present, p.Download, p.Codes, p.Busy, append([]int64{}, p.WaveSizes...)})
}

// ruleOf reads what a request changes of a rule.
func ruleOf(r *web.Request) (change func(*device.Rule), err error) {
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	change = func(x *device.Rule) {
		for name, to := range map[string]*string{"name": &x.Name, "group": &x.Group, "type": &x.Type, "carrier": &x.Carrier} {
			if s := b.text(name); s != nil {
				*to = *s
			}
		}
		if s := b.text("cause"); s != nil {
			x.Cause = device.Cause(*s)
		}
		if s := b.text("operation"); s != nil {
			x.Work = device.Work(*s)
		}
		for name, to := range map[string]*bool{"enabled": &x.Enabled, "on_first": &x.OnFirst, "on_lost": &x.OnLost} {
			if t := b.truth(name); t != nil {
				*to = *t
			}
		}
	}
	change(&device.Rule{}) // for what is wrong
	return change, b.err
}

func (d *Door) createRule(w http.ResponseWriter, r *web.Request) error {
	change, err := ruleOf(r)
	if err != nil {
		return err
	}
	x := device.Rule{Enabled: true, Work: device.WorkActivate}
	change(&x)
	x, err = d.o.Devices.AddRule(r.Context(), by(r), x)
	if err != nil {
		return err
	}
	return writeOne(d, w, r, http.StatusCreated, d.rules(), x)
}

func (d *Door) updateRule(w http.ResponseWriter, r *web.Request) error {
	change, err := ruleOf(r)
	if err != nil {
		return about(err, "id", r.Param("id"))
	}
	x, err := d.o.Devices.ChangeRule(r.Context(), by(r), r.Param("id"), change)
	if err != nil {
		return about(err, "id", r.Param("id"))
	}
	return writeOne(d, w, r, http.StatusOK, d.rules(), x)
}

func (d *Door) listAliases(w http.ResponseWriter, r *web.Request) error {
	found, err := d.o.Devices.Aliases(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	var list []any
	for _, a := range found {
		list = append(list, aliasJSON{a.Alias, a.Name})
	}
	return writeMany(w, http.StatusOK, list)
}

func (d *Door) putAlias(w http.ResponseWriter, r *web.Request) error {
	b, err := readBody(r)
	if err != nil {
		return err
	}
	a := device.Alias{Alias: b.required("alias"), Name: b.required("carrier")}
	if b.err != nil {
		return b.err
	}
	if err := d.o.Devices.PutAlias(r.Context(), by(r), a); err != nil {
		return about(err, "alias", a.Alias)
	}
	return web.WriteJSON(w, http.StatusCreated, aliasJSON{a.Alias, a.Name})
}
