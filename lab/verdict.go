package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"godwit/ident"
)

// A Transaction is one action as the server tells it: GET
// /ws/v1/esim_profiles/transactions/inventory.
type Transaction struct {
	ID      string      `json:"transaction"`
	Action  string      `json:"action"` // download, enable, disable, delete
	Status  string      `json:"status"` // in_progress, complete, failed, unknown
	EID     ident.EID   `json:"eid"`
	ICCID   ident.ICCID `json:"iccid"`
	Code    string      `json:"message_code"`
	Message string      `json:"message"`
	Created time.Time   `json:"created"`
	Updated time.Time   `json:"updated"`
}

// An Operation is one multistep operation as the server tells it.
type Operation struct {
	ID         string      `json:"id"`
	Operation  string      `json:"operation"` // activate, download, enable
	Status     string      `json:"status"`
	EID        ident.EID   `json:"eid"`
	ICCID      ident.ICCID `json:"iccid"`
	DownloadTx string      `json:"download_tx"`
	EnableTx   string      `json:"enable_tx"`
	Code       string      `json:"message_code"`
	Message    string      `json:"message"`
	Updated    time.Time   `json:"updated"`
}

// A ProfileRecord is one profile as the server has it from its device.
type ProfileRecord struct {
	ICCID  ident.ICCID `json:"iccid"`
	EID    ident.EID   `json:"eid"`
	Status string      `json:"status"` // active, inactive
}

// A Witness is what the chip of one device has to say.
type Witness struct {
	EID       ident.EID
	Name      string
	Hopeless  bool // nothing that it says may be believed, and nothing may end well
	Held      []Held
	Installed []ident.ICCID // in order, each time
	Enabled   []ident.ICCID // profiles that were ever found enabled
	Twice     []string      // packages executed more than once
	Back      []string      // packages that were rolled back
	Posts     int           // orders that the server may have taken
}

// A Violation is something that is not so.
type Violation struct {
	Rule   string `json:"rule"`
	Device string `json:"device"`
	What   string `json:"what"`
}

// The rules that a server is judged by.
const (
	RuleEnds     = "every operation ends"
	RuleTrue     = "an operation ends in a state that its device confirms"
	RuleOnce     = "nothing is done twice"
	RuleRecords  = "the profile records are what the chips hold"
	RuleBelieved = "a chip that cannot be believed is not believed"
)

// A Verdict is the judgement over a run.
type Verdict struct {
	Operations   map[string]int `json:"operations"`   // by status
	Transactions map[string]int `json:"transactions"` // by action and status
	Reasons      map[string]int `json:"reasons"`      // of failed transactions, by message_code
	Profiles     int            `json:"profiles"`     // records compared
	Installed    int            `json:"installed"`    // profiles that chips have installed
	// Waiting is what still waits on devices that are not believed, and for which
	// the server's own time limit has not come.
	Waiting    int         `json:"waiting"`
	Violations []Violation `json:"violations"`
}

// Evidence is what a verdict is made from.
type Evidence struct {
	Witnesses    []Witness
	Transactions []Transaction
	Operations   []Operation
	Profiles     []ProfileRecord

	Now   time.Time
	Limit time.Duration // after which the server gives a device up
}

// Judge compares what the server says with what the chips hold.
func Judge(e Evidence) *Verdict {
	v := &Verdict{Operations: map[string]int{}, Transactions: map[string]int{}, Reasons: map[string]int{}}
	of := map[ident.EID]*Witness{}
	for i := range e.Witnesses {
		of[e.Witnesses[i].EID] = &e.Witnesses[i]
	}
	transactions := map[ident.EID][]Transaction{}
	for _, t := range e.Transactions {
		if of[t.EID] == nil {
			continue // of somebody else's device
		}
		v.Transactions[t.Action+" "+t.Status]++
		if t.Status == "failed" {
			v.Reasons[t.Code]++
		}
		transactions[t.EID] = append(transactions[t.EID], t)
	}
	operations := map[ident.EID][]Operation{}
	for _, o := range e.Operations {
		if of[o.EID] == nil {
			continue
		}
		v.Operations[o.Operation+" "+o.Status]++
		operations[o.EID] = append(operations[o.EID], o)
	}
	records := map[ident.EID][]Held{}
	for _, p := range e.Profiles {
		if of[p.EID] != nil {
			records[p.EID] = append(records[p.EID], Held{p.ICCID, p.Status == "active"})
			v.Profiles++
		}
	}
	for i := range e.Witnesses {
		w := &e.Witnesses[i]
		v.Installed += len(w.Installed)
		c := court{v, w, e.Now.Add(-e.Limit)}
		c.ended(transactions[w.EID], operations[w.EID])
		c.once(transactions[w.EID], operations[w.EID])
		if w.Hopeless {
			c.unbelieved(transactions[w.EID], operations[w.EID], records[w.EID])
			continue
		}
		c.confirmed(transactions[w.EID])
		c.standing(transactions[w.EID])
		c.whole(operations[w.EID], transactions[w.EID])
		c.records(records[w.EID])
	}
	v.twice(e.Witnesses)
	return v
}

// A court judges one device.
type court struct {
	*Verdict
	w     *Witness
	young time.Time // what was touched after this may wait on a device that is not believed
}

func (c court) charge(rule, format string, args ...any) {
	c.Violations = append(c.Violations, Violation{rule, c.w.Name + " " + string(c.w.EID), fmt.Sprintf(format, args...)})
}

// ended holds everything to have an end.
func (c court) ended(list []Transaction, operations []Operation) {
	waits := func(updated time.Time) bool {
		if c.w.Hopeless && updated.After(c.young) {
			c.Waiting++
			return true
		}
		return false
	}
	for _, t := range list {
		if t.Status == "unknown" && c.w.Hopeless {
			continue // which is the truth: nobody can know
		}
		if t.Status != "complete" && t.Status != "failed" && !waits(t.Updated) {
			c.charge(RuleEnds, "%s of %s is %s (%s) since %s: transaction %s", t.Action, t.ICCID, t.Status, t.Code, t.Updated.Format(time.TimeOnly), t.ID)
		}
	}
	for _, o := range operations {
		if o.Status != "successful" && o.Status != "failed" && !waits(o.Updated) {
			c.charge(RuleEnds, "%s of %s stands at %s (%s) since %s: operation %s", o.Operation, o.ICCID, o.Status, o.Code, o.Updated.Format(time.TimeOnly), o.ID)
		}
	}
}

// confirmed holds each ended transaction against what the chip has done.
func (c court) confirmed(list []Transaction) {
	done := func(action string, iccid ident.ICCID) bool {
		return slices.ContainsFunc(list, func(t Transaction) bool { return t.Action == action && t.ICCID == iccid && t.Status == "complete" })
	}
	open := func(action string, iccid ident.ICCID) bool {
		return slices.ContainsFunc(list, func(t Transaction) bool {
			return t.Action == action && t.ICCID == iccid && t.Status != "complete" && t.Status != "failed"
		})
	}
	for _, t := range list {
		installed := slices.Contains(c.w.Installed, t.ICCID)
		held := slices.ContainsFunc(c.w.Held, func(h Held) bool { return h.ICCID == t.ICCID })
		switch t.Action + " " + t.Status {
		case "download complete":
			if !installed {
				c.charge(RuleTrue, "download of %s is complete, and the chip has never installed it: transaction %s", t.ICCID, t.ID)
			}
		case "download failed":
			if installed && !done("download", t.ICCID) {
				c.charge(RuleTrue, "download of %s has failed (%s), and the chip has installed it: transaction %s", t.ICCID, t.Code, t.ID)
			}
		case "enable complete":
			if !slices.Contains(c.w.Enabled, t.ICCID) {
				c.charge(RuleTrue, "enable of %s is complete, and the chip has never enabled it: transaction %s", t.ICCID, t.ID)
			}
		case "delete complete":
			if held {
				c.charge(RuleTrue, "delete of %s is complete, and the chip holds it: transaction %s", t.ICCID, t.ID)
			}
		case "delete failed":
			if installed && !held && !done("delete", t.ICCID) && !open("delete", t.ICCID) {
				c.charge(RuleTrue, "delete of %s has failed (%s), and the chip has deleted it: transaction %s", t.ICCID, t.Code, t.ID)
			}
		}
	}
	for _, iccid := range c.w.Installed {
		if !done("download", iccid) && !open("download", iccid) && !slices.ContainsFunc(list, func(t Transaction) bool {
			return t.Action == "download" && t.ICCID == iccid
		}) {
			c.charge(RuleTrue, "the chip has installed %s, and there is no transaction for it", iccid)
		}
	}
}

// standing holds the last change of the enabled profile against the chip.
func (c court) standing(list []Transaction) {
	var last *Transaction
	for i := range list {
		t := &list[i]
		if t.Action != "enable" && t.Action != "disable" {
			continue
		}
		if t.Status != "complete" && t.Status != "failed" {
			return // it is charged already
		}
		if t.Status == "complete" && t.Code != "already_done" && (last == nil || t.Created.After(last.Created)) {
			last = t
		}
	}
	if last == nil || slices.Contains(c.w.Back, strings.ReplaceAll(last.ID, "-", "")) {
		return // of one that was complete, and then rolled back, the chip shows nothing any more
	}
	enabled := slices.ContainsFunc(c.w.Held, func(h Held) bool { return h.ICCID == last.ICCID && h.Enabled })
	if enabled != (last.Action == "enable") {
		c.charge(RuleTrue, "%s of %s is the last change that is complete, and the chip holds %v: transaction %s", last.Action, last.ICCID, c.w.Held, last.ID)
	}
}

// whole holds operations to their transactions.
func (c court) whole(operations []Operation, list []Transaction) {
	status := map[string]string{}
	for _, t := range list {
		status[t.ID] = t.Status
	}
	for _, o := range operations {
		for _, id := range []string{o.DownloadTx, o.EnableTx} {
			if id == "" {
				continue
			}
			if s, known := status[id]; !known {
				c.charge(RuleTrue, "%s names transaction %s, which is none of the device: operation %s", o.Operation, id, o.ID)
			} else if o.Status == "successful" && s != "complete" {
				c.charge(RuleTrue, "%s is successful, and its transaction %s is %s: operation %s", o.Operation, id, s, o.ID)
			}
		}
		if o.Status != "successful" {
			continue
		}
		if o.Operation != "enable" && !slices.Contains(c.w.Installed, o.ICCID) {
			c.charge(RuleTrue, "%s of %s is successful, and the chip has never installed it: operation %s", o.Operation, o.ICCID, o.ID)
		}
		if o.Operation != "download" && !slices.Contains(c.w.Enabled, o.ICCID) {
			c.charge(RuleTrue, "%s of %s is successful, and the chip has never enabled it: operation %s", o.Operation, o.ICCID, o.ID)
		}
	}
}

// once holds the device to have done everything once.
func (c court) once(list []Transaction, operations []Operation) {
	for _, id := range c.w.Twice {
		c.charge(RuleOnce, "package %s was executed more than once", id)
	}
	within := map[string]bool{}
	for _, o := range operations {
		within[o.DownloadTx], within[o.EnableTx] = true, true
	}
	started := len(operations)
	for _, t := range list {
		if !within[t.ID] {
			started++
		}
	}
	if started > c.w.Posts {
		c.charge(RuleOnce, "%d operations and single transactions came of %d requests", started, c.w.Posts)
	}
}

// twice holds each profile to be installed once in the world.
func (v *Verdict) twice(list []Witness) {
	first := map[ident.ICCID]*Witness{}
	for i := range list {
		w := &list[i]
		for _, iccid := range w.Installed {
			if before := first[iccid]; before != nil {
				court{Verdict: v, w: w}.charge(RuleOnce, "%s was installed again; the first time on %s", iccid, before.Name)
				continue
			}
			first[iccid] = w
		}
	}
}

// unbelieved holds the server to take nothing of a chip that cannot prove who it
// is.
func (c court) unbelieved(list []Transaction, operations []Operation, records []Held) {
	for _, t := range list {
		if t.Status == "complete" {
			c.charge(RuleBelieved, "%s of %s is complete: transaction %s", t.Action, t.ICCID, t.ID)
		}
	}
	for _, o := range operations {
		if o.Status == "successful" {
			c.charge(RuleBelieved, "%s of %s is successful: operation %s", o.Operation, o.ICCID, o.ID)
		}
	}
	if len(records) > 0 {
		c.charge(RuleBelieved, "there are records of profiles: %v", records)
	}
}

// records compares what the server has written down.
func (c court) records(have []Held) {
	order := func(a, b Held) int {
		if a.ICCID < b.ICCID {
			return -1
		}
		return 1
	}
	have, want := slices.Clone(have), slices.Clone(c.w.Held)
	slices.SortFunc(have, order)
	slices.SortFunc(want, order)
	if !slices.Equal(have, want) {
		c.charge(RuleRecords, "the server has %v, the chip holds %v", have, want)
	}
}
