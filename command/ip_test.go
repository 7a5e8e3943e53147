package command

import (
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/jobs"
	"godwit/sim"
)

// port gives the house its UDP port, and has what comes there kept.
func (h *house) port(t testing.TB) {
	t.Helper()
	p, err := Listen("127.0.0.1:0")
	check(t, err)
	h.Port = p
	running(t, func(ctx context.Context) error { return p.Run(ctx, h.TakeDatagrams) })
}

// attached starts a device's UDP socket at an address of its own.
func (h *house) attached(t testing.TB, one sim.Sim, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address)})
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	h.addresses[one.ICCID] = netip.MustParseAddr(address)
	return conn
}

func portOf(conn *net.UDPConn) int { return conn.LocalAddr().(*net.UDPAddr).Port }

func (h *house) wantIP(t testing.TB, m IP, want Status) IP {
	t.Helper()
	m = h.ip(t, m.SID)
	if m.Status != want {
		t.Fatalf("%s is %s (%s), want %s", m.SID, m.Status, m.ErrorMessage, want)
	}
	return m
}

func eachIP(t *testing.T, body func(t *testing.T, h *house)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		h.port(t)
		body(t, h)
	})
}

// TestIPLife: a datagram to a real socket, and its answer.
func TestIPLife(t *testing.T) {
	eachIP(t, func(t *testing.T, h *house) {
		fleet := h.fleet(t, true, true)
		one := h.device(t, fleet.SID, sim.Active)
		device := h.attached(t, one, "127.0.0.2")
		m, err := h.SendIP(t.Context(), IPOrder{Account: h.account, SIM: one.SID, DevicePort: portOf(device), Payload: "AAH/", PayloadType: Binary, Callback: hook})
		check(t, err)
		if m.Status != Queued || m.DeviceIP != "" {
			t.Errorf("new: %+v", m)
		}
		check(t, h.sendIP(t.Context(), jobs.Hand{}))
		if m = h.wantIP(t, m, Sent); m.DeviceIP != "127.0.0.2" {
			t.Errorf("sent to %q", m.DeviceIP)
		}
		buffer := make([]byte, 2000)
		check(t, device.SetReadDeadline(time.Now().Add(time.Minute)))
		n, from, err := device.ReadFromUDPAddrPort(buffer)
		check(t, err)
		if got := buffer[:n]; string(got) != "\x00\x01\xff" || from.Port() != h.Port.Addr().Port() {
			t.Errorf("the device got %x from %s", got, from)
		}
		if told := h.told(t, m.SID); told != "sent" {
			t.Errorf("the customer was told %q", told)
		}
		_, err = device.WriteToUDPAddrPort([]byte("done"), from)
		check(t, err)
		var l sim.List[IP]
		await(t, "answer of the device", func() bool {
			l, err = h.IPs(t.Context(), h.account, Filter{Direction: FromSim, ICCID: string(one.ICCID)}, sim.Page{Limit: 10})
			check(t, err)
			return len(l.Items) > 0
		})
		got := l.Items[0]
		if got.Status != Received || got.PayloadType != Binary || got.Payload != base64.StdEncoding.EncodeToString([]byte("done")) ||
			got.DeviceIP != "127.0.0.2" || got.DevicePort != portOf(device) || got.SIM != one.SID {
			t.Errorf("kept %+v", got)
		}
		calls := h.callbacks(t, got.SID)
		if len(calls) != 1 || calls[0].URL != fleet.IPHook.URL {
			t.Fatalf("callbacks %+v", calls)
		}
		form, err := url.ParseQuery(calls[0].Form)
		check(t, err)
		want := url.Values{
			"AccountSid": {h.account}, "ApiVersion": {"v1"}, "CommandSid": {got.SID}, "Direction": {"from_sim"}, "Payload": {got.Payload}, "PayloadType": {"binary"},
			"SimSid": {one.SID}, "SimUniqueName": {one.UniqueName}, "SimIccid": {string(one.ICCID)}, "Status": {"received"},
			"DeviceIp": {"127.0.0.2"}, "DevicePort": {strconv.Itoa(portOf(device))},
		}
		if form.Encode() != want.Encode() {
			t.Errorf("callback %v, want %v", form, want)
		}
	})
}

func TestIPFails(t *testing.T) {
	eachIP(t, func(t *testing.T, h *house) {
		one := h.device(t, h.fleet(t, true, true).SID, sim.Active)
		order := IPOrder{Account: h.account, SIM: one.SID, DevicePort: 4000, Payload: "x", Callback: hook}
		away, err := h.SendIP(t.Context(), order)
		check(t, err)
		check(t, h.sendIP(t.Context(), jobs.Hand{}))
		if m := h.wantIP(t, away, Failed); m.ErrorCode != "83401" || m.DeviceIP != "" {
			t.Errorf("not attached: %+v", m)
		}
		form, err := url.ParseQuery(h.callbacks(t, away.SID)[0].Form)
		check(t, err)
		if form.Get("ErrorCode") != "83401" || form.Get("ErrorMessage") == "" || form.Get("DeviceIp") != "" || form.Get("Status") != "failed" {
			t.Errorf("callback %v", form)
		}
		h.addresses[one.ICCID] = netip.MustParseAddr("2001:db8::1") // our socket is of the other family
		unreachable, err := h.SendIP(t.Context(), order)
		check(t, err)
		check(t, h.sendIP(t.Context(), jobs.Hand{}))
		if m := h.wantIP(t, unreachable, Failed); m.ErrorCode != "83400" {
			t.Errorf("unreachable: %+v", m)
		}
		h.Port = nil
		portless, err := h.SendIP(t.Context(), order)
		check(t, err)
		check(t, h.sendIP(t.Context(), jobs.Hand{}))
		if m := h.wantIP(t, portless, Failed); m.ErrorCode != "83400" || !strings.Contains(m.ErrorMessage, "not set up") {
			t.Errorf("without a port: %+v", m)
		}
	})
}

// TestDatagrams: what strangers send is passed over, what a Sim may not send is
// recorded and goes no further.
func TestDatagrams(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		mute, inactive := h.device(t, h.fleet(t, false, true).SID, sim.Active), h.device(t, h.fleet(t, true, true).SID, sim.Inactive)
		fine := h.device(t, inactive.Fleet, sim.Active)
		h.addresses[mute.ICCID], h.addresses[inactive.ICCID] = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		h.addresses[fine.ICCID] = netip.MustParseAddr("10.0.0.3")
		from := func(address string, size int) Datagram {
			return Datagram{From: netip.MustParseAddrPort(address + ":4000"), Payload: make([]byte, size)}
		}
		check(t, h.TakeDatagrams(t.Context(), []Datagram{
			from("10.9.9.9", 1), from("10.0.0.1", 1), from("10.0.0.2", 1), from("10.0.0.3", MaxPayload), from("10.0.0.3", MaxPayload+1),
		}))
		l, err := h.IPs(t.Context(), h.account, Filter{}, sim.Page{Limit: 10})
		check(t, err)
		if len(l.Items) != 1 || l.Items[0].SIM != fine.SID {
			t.Errorf("kept %+v", l.Items)
		}
		for _, one := range []sim.Sim{mute, inactive, fine} {
			if events := h.events(t, one.SID); len(events) != 1 || events[0].Kind != "ip_command.dropped" {
				t.Errorf("events of %s: %+v", one.UniqueName, events)
			}
		}
	})
}

func TestIPRules(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		fleet := h.fleet(t, true, true)
		active := h.device(t, fleet.SID, sim.Active)
		full := base64.StdEncoding.EncodeToString(make([]byte, MaxPayload))
		for _, tt := range []struct {
			name, field, text string
			code              int
			order             IPOrder
		}{
			{"no Sim", "Sim", "neither", CodeSim, IPOrder{SIM: "nobody", DevicePort: 1, Payload: "x"}},
			{"data off", "Sim", "DataEnabled", 0, IPOrder{SIM: h.device(t, h.fleet(t, false, true).SID, sim.Active).SID, DevicePort: 1, Payload: "x"}},
			{"inactive", "Sim", "inactive", 0, IPOrder{SIM: h.device(t, fleet.SID, sim.Inactive).SID, DevicePort: 1, Payload: "x"}},
			{"port 0", "DevicePort", "65535", 0, IPOrder{SIM: active.SID, Payload: "x"}},
			{"no base64", "Payload", "base64", 0, IPOrder{SIM: active.SID, DevicePort: 1, Payload: "x", PayloadType: Binary}},
			{"text too long", "Payload", "1300", 0, IPOrder{SIM: active.SID, DevicePort: 1, Payload: strings.Repeat("é", 651)}},
			{"binary too long", "Payload", "1301", 0, IPOrder{SIM: active.SID, DevicePort: 1, Payload: base64.StdEncoding.EncodeToString(make([]byte, 1301)), PayloadType: Binary}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				tt.order.Account = h.account
				_, err := h.SendIP(t.Context(), tt.order)
				f, ok := fault.As(err)
				if !ok || f.Kind != fault.Invalid || f.Field != tt.field || f.Code != tt.code || !strings.Contains(f.Message, tt.text) {
					t.Errorf("error %+v", err)
				}
			})
		}
		if _, err := h.SendIP(t.Context(), IPOrder{Account: h.account, SIM: active.SID, DevicePort: 65535, Payload: full, PayloadType: Binary}); err != nil {
			t.Errorf("1300 octets: %v", err)
		}
	})
}
