package remote

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"godwit/event"
	"godwit/query"
	"godwit/web"
)

// An eventJSON is an entry of the audit log.
type eventJSON struct {
	ID               string          `json:"id"` // text: more digits than JavaScript's numbers have
	Customer         int64           `json:"customer_id"`
	Kind             string          `json:"kind"` // ours
	Facility         string          `json:"facility"`
	ModificationType string          `json:"modification_type"`
	Subject          string          `json:"subject"` // ours
	StartTime        string          `json:"start_time"`
	EndTime          string          `json:"end_time"`
	User             string          `json:"user,omitempty"`
	Source           string          `json:"source,omitempty"`
	Details          json.RawMessage `json:"details,omitempty"`
	EvidenceKind     string          `json:"evidence_kind,omitempty"` // ours
}

func showEvent(x event.Event, customer int64) any {
	facility, change, _ := strings.Cut(x.Kind, ".")
	out := eventJSON{
		ID: strconv.FormatInt(x.ID, 10), Customer: customer, Kind: x.Kind, Facility: facility, ModificationType: change, Subject: x.Subject,
		StartTime: at(x.At), EndTime: at(x.At), EvidenceKind: x.EvidenceKind,
	}
	if data, ok := x.Data.(json.RawMessage); ok {
		var who struct{ By, Source string }
		if json.Unmarshal(data, &who) == nil {
			out.User, out.Source = who.By, who.Source
		}
		if string(data) != "{}" {
			out.Details = data
		}
	}
	return out
}

func (d *Door) events() resource[event.Event] {
	return resource[event.Event]{
		name: "events", schema: event.Schema, page: d.o.Events.Page, empty: eventJSON{},
		show: showEvent,
	}
}

// eventFilter reads the parameters by which events are chosen beside a query.
func eventFilter(r *web.Request) (string, error) {
	f, err := web.QueryForm(r)
	if err != nil {
		return "", err
	}
	var all []string
	if from := f.String("start_time"); from != "" {
		all = append(all, "start_time >= "+moment(from))
	}
	if to := f.String("end_time"); to != "" {
		all = append(all, "start_time < "+moment(to))
	}
	return strings.Join(all, " and "), f.Err()
}

// offset is a time of a query that is counted from now, like -1d.
var offset = regexp.MustCompile(`^[-+][0-9]+[smhdwSMHDW]$`)

// moment writes a parameter as a time of a query: an offset from now stands
// without quotes, and nothing else does, or a parameter could say more than a time.
func moment(s string) string {
	if offset.MatchString(s) {
		return s
	}
	return query.Quote(s)
}
