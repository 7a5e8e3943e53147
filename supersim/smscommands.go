package supersim

import (
	"net/http"

	"godwit/command"
	"godwit/web"
)

func (d *door) smsRoutes() []web.Route {
	return []web.Route{
		{Path: "/v1/SmsCommands", Methods: map[string]web.Handler{"GET": d.listSMS, "POST": d.createSMS}},
		{Path: "/v1/SmsCommands/{sid}", Methods: map[string]web.Handler{"GET": d.fetchSMS}},
	}
}

type smsJSON struct {
	SID         string `json:"sid"`
	AccountSID  string `json:"account_sid"`
	SimSID      string `json:"sim_sid"`
	Payload     string `json:"payload"`
	Status      string `json:"status"`
	Direction   string `json:"direction"`
	DateCreated string `json:"date_created"`
	DateUpdated string `json:"date_updated"`
	URL         string `json:"url"`
}

func showSMS(r *web.Request) func(command.SMS) smsJSON {
	return func(m command.SMS) smsJSON {
		return smsJSON{
			SID: m.SID, AccountSID: m.Account, SimSID: m.SIM, Payload: m.Payload, Status: string(m.Status), Direction: string(m.Direction),
			DateCreated: date(m.CreatedAt), DateUpdated: date(m.UpdatedAt), URL: r.Base + "/v1/SmsCommands/" + m.SID,
		}
	}
}

func (d *door) createSMS(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	ref, payload, tell := f.Required("Sim"), f.Required("Payload"), d.callback(f, "CallbackUrl", "CallbackMethod")
	if err := f.Err(); err != nil {
		return err
	}
	m, err := d.commands.SendSMS(r.Context(), r.Caller.Account, ref, payload, tell)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showSMS(r)(m))
}

func (d *door) fetchSMS(w http.ResponseWriter, r *web.Request) error {
	m, err := d.commands.SMS(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showSMS(r)(m))
}

func (d *door) listSMS(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := page(f)
	filter := commandFilter(f, command.SMSStatuses)
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.commands.SMSs(r.Context(), r.Caller.Account, filter, sp)
	if err != nil {
		return err
	}
	return list(w, r, "sms_commands", p, l, command.SMS.Key, showSMS(r))
}

// commandFilter reads what lists of commands have in common.
func commandFilter(f *web.Form, statuses []command.Status) command.Filter {
	return command.Filter{
		SIM:       f.String("Sim"),
		Status:    command.Status(f.OneOf("Status", words(statuses)...)),
		Direction: command.Direction(f.OneOf("Direction", words(command.Directions)...)),
	}
}
