package supersim_test

import (
	"net"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"

	vendor "github.com/twilio/twilio-go/rest/supersim/v1"
)

// TestOfficialClientCommands sends commands with the vendor's own client.
func TestOfficialClientCommands(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d, "")
		api := vendorClient(h, h.account, h.token)
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		until := func(what string, done func() bool) {
			t.Helper()
			look, late := time.NewTicker(10*time.Millisecond), time.After(2*time.Minute)
			defer look.Stop()
			for !done() {
				select {
				case <-look.C:
				case <-late:
					t.Fatalf("no %s in two minutes", what)
				}
			}
		}
		_, err := api.CreateEsimProfile((&vendor.CreateEsimProfileParams{}).SetGenerateMatchingId(true))
		ok(err)
		var one vendor.SupersimV1Sim
		until("Sim", func() bool {
			all, err := api.ListSim((&vendor.ListSimParams{}).SetStatus("new"))
			ok(err)
			if len(all) == 1 {
				one = all[0]
			}
			return len(all) == 1
		})
		nap, err := api.CreateNetworkAccessProfile(&vendor.CreateNetworkAccessProfileParams{})
		ok(err)
		fleet, err := api.CreateFleet((&vendor.CreateFleetParams{}).SetNetworkAccessProfile(*nap.Sid))
		ok(err)
		_, err = api.UpdateSim(*one.Sid, (&vendor.UpdateSimParams{}).SetUniqueName("meter").SetFleet(*fleet.Sid).SetStatus("active"))
		ok(err)
		until("active Sim", func() bool {
			s, err := api.FetchSim("meter")
			ok(err)
			return *s.Status == "active"
		})

		sms, err := api.CreateSmsCommand((&vendor.CreateSmsCommandParams{}).SetSim("meter").SetPayload("reboot"))
		ok(err)
		if *sms.Status != "queued" || *sms.Direction != "to_sim" || *sms.SimSid != *one.Sid {
			t.Errorf("SMS command %+v", sms)
		}
		h.field.smsc.Receipt(h.field.smsc.Next(), "DELIVRD")
		until("receipt", func() bool {
			m, err := api.FetchSmsCommand(*sms.Sid)
			ok(err)
			return *m.Status == "delivered"
		})
		list, err := api.ListSmsCommand((&vendor.ListSmsCommandParams{}).SetSim("meter").SetDirection("to_sim").SetStatus("delivered"))
		ok(err)
		if len(list) != 1 || *list[0].Sid != *sms.Sid {
			t.Errorf("list %+v", list)
		}
		if _, err := api.CreateSmsCommand((&vendor.CreateSmsCommandParams{}).SetSim("nobody").SetPayload("x")); codeOf(err) != 83005 {
			t.Errorf("an unknown Sim: %v", err)
		}
		if _, err := api.FetchSmsCommand("HC00000000000000000000000000000000"); codeOf(err) != 20404 {
			t.Errorf("an unknown command: %v", err)
		}

		device := h.field.attach(t, *one.Iccid)
		port := device.LocalAddr().(*net.UDPAddr).Port
		ip, err := api.CreateIpCommand((&vendor.CreateIpCommandParams{}).SetSim(*one.Sid).SetPayload("hello").SetDevicePort(port))
		ok(err)
		if *ip.Status != "queued" || ip.DeviceIp != nil || ip.DevicePort != port || *ip.PayloadType != "text" {
			t.Errorf("IP command %+v", ip)
		}
		buffer := make([]byte, 2000)
		size, from, err := device.ReadFromUDPAddrPort(buffer)
		ok(err)
		if string(buffer[:size]) != "hello" {
			t.Errorf("the device got %q", buffer[:size])
		}
		_, err = device.WriteToUDPAddrPort([]byte{1, 2, 3}, from)
		ok(err)
		until("answer", func() bool {
			all, err := api.ListIpCommand((&vendor.ListIpCommandParams{}).SetSimIccid(*one.Iccid).SetDirection("from_sim").SetStatus("received"))
			ok(err)
			if len(all) == 0 {
				return false
			}
			if *all[0].Payload != "AQID" || *all[0].PayloadType != "binary" || all[0].DevicePort != port || *all[0].DeviceIp != device.LocalAddr().(*net.UDPAddr).IP.String() {
				t.Errorf("answer %+v", all[0])
			}
			return true
		})
		// The device may be faster than the record that the datagram has left.
		var sent *vendor.SupersimV1IpCommand
		until("sent", func() bool {
			sent, err = api.FetchIpCommand(*ip.Sid)
			ok(err)
			return *sent.Status == "sent"
		})
		if *sent.DeviceIp != device.LocalAddr().(*net.UDPAddr).IP.String() {
			t.Errorf("sent %+v", sent)
		}
	})
}
