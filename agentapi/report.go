package agentapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/pki"
)

// Facts are what a device says of itself. Empty fields and nil are what it does
// not say.
type Facts struct {
	FirmwareVersion, MAC, SerialNumber, SKU, ProductID, IP, PhoneNumber string

	IMEI, ICCID, Carrier, Network, APN string // of its modem
	Strength, Percent, Quality         *int64 // of the signal: dBm, %, dB
}

// reported is what both functions may be told about a device. Members that are
// not there are not known; members that nobody knows are left alone, so that a
// newer agent can report to an older server.
type reported struct {
	Version  string `json:"agent_version"`
	Platform string `json:"platform"`
	Hostname string `json:"hostname"`
	Uptime   int64  `json:"uptime_seconds"`

	FirmwareVersion string `json:"firmware_version"`
	SerialNumber    string `json:"serial_number"`
	SKU             string `json:"sku"`
	ProductID       string `json:"product_id"`
	IP              string `json:"ip"`
	PhoneNumber     string `json:"phone_number"`
	MAC             string `json:"mac"`
	IMEI            string `json:"imei"` // of the modem
	ICCID           string `json:"iccid"`
	Carrier         string `json:"carrier"`
	Network         string `json:"network"`
	APN             string `json:"apn"`
	Strength        *int64 `json:"signal_strength"`
	Percent         *int64 `json:"signal_percent"`
	Quality         *int64 `json:"signal_quality"`
}

// maxText bounds a text of a report in octets.
const maxText = 255

// facts checks what was reported.
func (q *reported) facts() (Facts, error) {
	for _, t := range []struct{ name, text string }{
		{"agent_version", q.Version},
		{"platform", q.Platform},
		{"hostname", q.Hostname},
		{"firmware_version", q.FirmwareVersion},
		{"serial_number", q.SerialNumber},
		{"sku", q.SKU},
		{"product_id", q.ProductID},
		{"phone_number", q.PhoneNumber},
		{"carrier", q.Carrier},
		{"network", q.Network},
		{"apn", q.APN},
	} {
		if len(t.text) > maxText || !db.IsText(t.text) {
			return Facts{}, fault.Field(t.name, "is text of at most %d octets of UTF-8 without NUL", maxText)
		}
	}
	if err := digits("imei", q.IMEI, 14, 16); err != nil {
		return Facts{}, err
	}
	if err := digits("iccid", q.ICCID, 18, 20); err != nil {
		return Facts{}, err
	}
	if q.IP != "" {
		if _, err := netip.ParseAddr(q.IP); err != nil {
			return Facts{}, fault.Field("ip", "is an IP address, not %.60q", q.IP)
		}
	}
	if q.Uptime < 0 || q.Uptime > 100*365*24*3600 {
		return Facts{}, fault.Field("uptime_seconds", "is a number of seconds from 0 to a hundred years")
	}
	for _, n := range []struct {
		name        string
		value       *int64
		least, most int64
	}{
		{"signal_strength", q.Strength, -200, 0},
		{"signal_percent", q.Percent, 0, 100},
		{"signal_quality", q.Quality, -100, 100},
	} {
		if n.value != nil && (*n.value < n.least || *n.value > n.most) {
			return Facts{}, fault.Field(n.name, "is from %d to %d, not %d", n.least, n.most, *n.value)
		}
	}
	return Facts{
		FirmwareVersion: q.FirmwareVersion, SerialNumber: q.SerialNumber, SKU: q.SKU, ProductID: q.ProductID, IP: q.IP,
		PhoneNumber: q.PhoneNumber, MAC: q.MAC, IMEI: q.IMEI, ICCID: q.ICCID, Carrier: q.Carrier, Network: q.Network, APN: q.APN,
		Strength: q.Strength, Percent: q.Percent, Quality: q.Quality,
	}, nil
}

func digits(name, text string, least, most int) error {
	if text != "" && (len(text) < least || len(text) > most || strings.Trim(text, "0123456789") != "") {
		return fault.Field(name, "is %d to %d digits, not %.40q", least, most, text)
	}
	return nil
}

// booted is when the device was started, 0 where it does not say.
func (q *reported) booted(now time.Time) int64 {
	if q.Uptime == 0 {
		return 0
	}
	return db.Micros(now.Add(-time.Duration(q.Uptime) * time.Second))
}

type reportAnswer struct {
	Poll int `json:"poll_seconds"`
}

// report takes over what a device says of itself.
func (d *Door) report(w http.ResponseWriter, r *http.Request) (any, error) {
	var q reported
	if err := read(r, &q); err != nil {
		return nil, err
	}
	token, is := bearer(r)
	if !is {
		return nil, fault.New(fault.Unauthorized, "report with the agent's token: Authorization: Bearer …")
	}
	facts, err := q.facts()
	if err != nil {
		return nil, err
	}
	// Strangers, and devices that come too often, keep nobody from writing.
	err = d.o.DB.Read(r.Context(), func(q db.Query) error {
		a, err := d.find(r.Context(), q, token)
		if err != nil {
			return err
		}
		if wait := d.reports.Wait(a.Device); wait > 0 {
			return tooMany(w, wait, "a device reports at most every five seconds")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = d.o.DB.Write(r.Context(), func(tx *db.Tx) error {
		a, err := d.find(r.Context(), tx, token)
		if err != nil {
			return err
		}
		if err := d.o.Devices.Facts(r.Context(), tx, a.Device, facts); err != nil {
			return err
		}
		tx.AfterCommit(func() { d.reports.Spend(a.Device) })
		return d.heard(r.Context(), tx, a, &q)
	})
	return reportAnswer{int(d.o.Poll / time.Second)}, err
}

// heard notes what an agent says of itself. Its use of the new token ends the
// old one.
func (d *Door) heard(ctx context.Context, tx *db.Tx, a agent, q *reported) error {
	now := d.o.Now()
	if _, err := tx.ExecContext(ctx, `update agent set reported_at = $2, version = case when $3 = '' then version else $3 end,
		platform = case when $4 = '' then platform else $4 end, hostname = case when $5 = '' then hostname else $5 end,
		booted_at = case when cast($6 as bigint) = 0 then booted_at else $6 end, previous_hash = case when $7 then previous_hash end where device_id = $1`,
		a.Device, db.Micros(now), q.Version, q.Platform, q.Hostname, q.booted(now), a.previous); err != nil {
		return fmt.Errorf("store report of %s: %w", a.Device, err)
	}
	return nil
}

// checkKey reads the key that an agent signs with.
func checkKey(spki []byte) error {
	if len(spki) == 0 {
		return errors.New("the agent of a consumer eUICC signs for it: its public key is missing (SubjectPublicKeyInfo, DER, in base64)")
	}
	_, err := pki.ParsePublicKeyInfo(spki)
	return err
}
