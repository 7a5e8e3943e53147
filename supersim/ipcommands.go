package supersim

import (
	"net/http"

	"godwit/command"
	"godwit/web"
)

func (d *door) ipRoutes() []web.Route {
	return []web.Route{
		{Path: "/v1/IpCommands", Methods: map[string]web.Handler{"GET": d.listIP, "POST": d.createIP}},
		{Path: "/v1/IpCommands/{sid}", Methods: map[string]web.Handler{"GET": d.fetchIP}},
	}
}

type ipJSON struct {
	SID         string  `json:"sid"`
	AccountSID  string  `json:"account_sid"`
	SimSID      string  `json:"sim_sid"`
	SimICCID    string  `json:"sim_iccid"`
	Status      string  `json:"status"`
	Direction   string  `json:"direction"`
	DeviceIP    *string `json:"device_ip"`
	DevicePort  int     `json:"device_port"`
	PayloadType string  `json:"payload_type"`
	Payload     string  `json:"payload"`
	DateCreated string  `json:"date_created"`
	DateUpdated string  `json:"date_updated"`
	URL         string  `json:"url"`
}

func showIP(r *web.Request) func(command.IP) ipJSON {
	return func(m command.IP) ipJSON {
		return ipJSON{
			SID: m.SID, AccountSID: m.Account, SimSID: m.SIM, SimICCID: string(m.ICCID), Status: string(m.Status), Direction: string(m.Direction),
			DeviceIP: text(m.DeviceIP), DevicePort: m.DevicePort, PayloadType: m.PayloadType, Payload: m.Payload,
			DateCreated: date(m.CreatedAt), DateUpdated: date(m.UpdatedAt), URL: r.Base + "/v1/IpCommands/" + m.SID,
		}
	}
}

func (d *door) createIP(w http.ResponseWriter, r *web.Request) error {
	f, err := web.PostForm(r)
	if err != nil {
		return err
	}
	o := command.IPOrder{
		Account: r.Caller.Account, SIM: f.Required("Sim"), Payload: f.Required("Payload"),
		PayloadType: f.OneOf("PayloadType", command.Text, command.Binary), Callback: d.callback(f, "CallbackUrl", "CallbackMethod"),
	}
	if f.Required("DevicePort") != "" {
		o.DevicePort = int(f.Int("DevicePort", 1, 65535, 0))
	}
	if err := f.Err(); err != nil {
		return err
	}
	m, err := d.commands.SendIP(r.Context(), o)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, showIP(r)(m))
}

func (d *door) fetchIP(w http.ResponseWriter, r *web.Request) error {
	m, err := d.commands.IP(r.Context(), r.Caller.Account, r.Param("sid"))
	if err != nil {
		return inPath(r, err)
	}
	return web.WriteJSON(w, http.StatusOK, showIP(r)(m))
}

func (d *door) listIP(w http.ResponseWriter, r *web.Request) error {
	f, err := web.QueryForm(r)
	if err != nil {
		return err
	}
	p, sp := pageUpTo(f, koreLimit(r, 100)) // KORE's document has 100
	filter := commandFilter(f, command.IPStatuses)
	filter.ICCID = f.String("SimIccid")
	if err := f.Err(); err != nil {
		return err
	}
	l, err := d.commands.IPs(r.Context(), r.Caller.Account, filter, sp)
	if err != nil {
		return err
	}
	return list(w, r, "ip_commands", p, l, command.IP.Key, showIP(r))
}
