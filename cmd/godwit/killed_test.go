package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"godwit/carrier/coretest"
	"godwit/command"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/smsc/smsctest"
)

const (
	manyKills   = 7
	killSeed    = "GODWIT_TEST_SEED" // repeats a run that failed
	radiusKnown = "a secret that both know"
)

// TestKilledAgainAndAgain kills a server at moments drawn from a seed, also while
// it starts, and customers, devices, the SMSC and the core network go on with all
// that they do. Afterwards everything that was ever answered is true, once:
// whoever has heard nothing asks again under the same Idempotency-Key.
func TestKilledAgainAndAgain(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, database string) {
		seed, err := strconv.ParseUint(os.Getenv(killSeed), 10, 64)
		if err != nil {
			seed = rand.Uint64()
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s=%d repeats these moments", killSeed, seed)
			}
		})
		w := newWorld(t, database)
		end := w.begin()
		r := rand.New(rand.NewPCG(seed, 0))
		for range manyKills {
			passes(time.Duration(r.Int64N(int64(700 * time.Millisecond))))
			w.p.kill()
			if r.IntN(3) == 0 { // it does not get as far as listening, or just so
				early := program(context.Background(), w.p.args...)
				if err := early.Start(); err != nil {
					t.Fatal(err)
				}
				passes(time.Duration(r.Int64N(int64(150 * time.Millisecond))))
				_ = early.Process.Kill()
				_ = early.Wait()
			}
			w.p.start()
			w.ear.up.Store(time.Now().UnixMicro())
		}
		w.over.Store(true)
		w.p.kill()
		w.leasesLapse()
		w.p.start()
		w.ear.up.Store(time.Now().UnixMicro())
		end()
		w.checkAll()
	})
}

// passes waits for a moment that means nothing to anybody.
func passes(d time.Duration) { <-time.NewTimer(d).C }

// A world is a server with everything around it.
type world struct {
	t    *testing.T
	p    *process
	base string
	http *http.Client
	auth credentials

	ear     *ear
	smsc    *smsctest.SMSC
	radius  string
	ipPort  string
	movers  []*worldSim // are made active and inactive
	talkers []*worldSim // have devices
	over    atomic.Bool
	actors  sync.WaitGroup
	ids     atomic.Int64

	mu       sync.Mutex
	receipts sync.WaitGroup // begins nothing when hushed
	hushed   bool
	profiles map[string]string // single reservations: SID by URL of their callback
	orders   map[string]int64  // number of profiles by SID
	fleets   map[string]bool   // SIDs
	texts    map[string]string // SMS to devices: SID by payload
	said     map[string]bool   // SMS of devices, by text
	grams    map[string]string // IP commands: SID by payload
}

// A worldSim is a Sim, and what is known of it by answers.
type worldSim struct {
	sid, iccid string
	status     string
	number     smsctest.Message // how the SMSC addresses it
	device     *net.UDPConn
	up, down   uint64 // octets, as far as reported
}

func newWorld(t *testing.T, database string) *world {
	w := &world{
		t: t, ear: newEar(t), smsc: smsctest.Start(t), http: &http.Client{Timeout: 20 * time.Second},
		profiles: map[string]string{}, orders: map[string]int64{}, fleets: map[string]bool{},
		texts: map[string]string{}, said: map[string]bool{}, grams: map[string]string{},
	}
	udp := freePorts(t, 2)
	w.radius, w.ipPort = udp[0], udp[1]
	core := "built-in"
	if _, err := exec.LookPath("osmo-hlr"); err == nil {
		core = "osmohlr://" + coretest.StartHLR(t).Control
	}
	w.p = startServer(t, databaseFlag(database), "--core", core, "--callback-allow", w.ear.host(),
		"--smsc", w.smsc.Addr(), "--smsc-user", smsctest.SystemID, "--smsc-password", smsctest.Password,
		"--ip-command-listen", w.ipPort, "--radius-listen", w.radius, "--radius-client", "127.0.0.0/8="+radiusKnown)
	w.auth, w.base = w.p.credentials, w.p.credentials.BaseURL
	w.ear.believe(w.auth.AuthToken)
	w.smsc.Early(w.vouch)
	t.Cleanup(w.hush)

	var accesses struct {
		List []struct {
			SID string `json:"sid"`
		} `json:"network_access_profiles"`
	}
	w.p.call("/v1/NetworkAccessProfiles", nil, &accesses)
	w.ask("/v1/Fleets", url.Values{
		"UniqueName": {"field"}, "NetworkAccessProfile": {accesses.List[0].SID}, "SmsCommandsEnabled": {"true"},
		"SmsCommandsUrl": {w.ear.url("fleet/sms")}, "IpCommandsUrl": {w.ear.url("fleet/ip")},
	}, nil)
	for i := range 6 {
		var r reserved
		hook := w.reserve(&r)
		w.ear.wait(t, hook, "available", "")
		w.p.call("/v1/ESimProfiles/"+r.SID, nil, &r)
		one := &worldSim{sid: r.SimSID, iccid: r.ICCID, status: "new"}
		w.move(one, "active")
		if i%2 == 0 {
			w.movers = append(w.movers, one)
			continue
		}
		w.talkers = append(w.talkers, one)
		w.report(one, rfc2866.AcctStatusType_Value_Start)
		address := netAddress(len(w.talkers))
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: address})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		one.device = conn
		go w.answer(conn)
		one.number = w.message(one)
	}
	return w
}

// vouch has the SMSC tell that a message has arrived, as often as it must.
func (w *world) vouch(m smsctest.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.hushed {
		w.receipts.Go(func() { w.again(func() bool { return w.smsc.Bound() && w.smsc.Receipt(m, "DELIVRD") == 0 }) })
	}
}

// hush has it begin no more, and waits until it has told what it began.
func (w *world) hush() {
	w.mu.Lock()
	w.hushed = true
	w.mu.Unlock()
	w.receipts.Wait()
}

// netAddress is the address of the device of a data session, on this machine.
func netAddress(n int) net.IP { return net.IPv4(127, 77, 0, byte(n)) }

// begin has everybody act until it is over. The function that it returns waits
// for what they have begun.
func (w *world) begin() (end func()) {
	act := func(step func()) {
		w.actors.Go(func() {
			for !w.over.Load() && !w.t.Failed() {
				step()
			}
		})
	}
	for range 2 {
		act(func() { w.reserve(nil) })
	}
	act(w.order)
	act(w.fleet)
	for _, one := range w.movers {
		act(func() { w.move(one, map[string]string{"active": "inactive", "inactive": "active"}[one.status]) })
	}
	for i, one := range w.talkers {
		act(func() { w.message(one) })
		act(func() { w.datagram(one) })
		act(func() { w.text(one) })
		act(func() {
			one.up, one.down = one.up+uint64(1000+i), one.down+100
			w.report(one, rfc2866.AcctStatusType_Value_InterimUpdate)
		})
	}
	return func() {
		w.actors.Wait()
		if w.t.Failed() {
			w.t.FailNow()
		}
	}
}

// again repeats what may be lost with a server that dies.
func (w *world) again(try func() bool) {
	for begun := time.Now(); !try() && !w.t.Failed(); pause() {
		if w.ear.late(begun) {
			w.t.Errorf("something that is tried again and again does not come about in %s", longest)
		}
	}
}

// ask makes a request under a key of its own until it is answered, and returns
// the status.
func (w *world) ask(path string, form url.Values, into any) (status int) {
	key := "k" + strconv.FormatInt(w.ids.Add(1), 10)
	body := form.Encode()
	w.again(func() bool {
		request, err := http.NewRequest(http.MethodPost, w.base+path, strings.NewReader(body))
		if err != nil {
			w.t.Error(err)
			return true
		}
		request.SetBasicAuth(w.auth.AccountSID, w.auth.AuthToken)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Idempotency-Key", key)
		response, err := w.http.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return false
		}
		if status = response.StatusCode; underWay(status, content) {
			return false
		}
		if status >= 300 {
			w.t.Errorf("%s %s was answered with %d %s", path, body, status, content)
			return true
		}
		if into == nil {
			into = new(any)
		}
		if err := json.Unmarshal(content, into); err != nil {
			w.t.Errorf("%s: %d %q: %v", path, status, content, err)
		}
		return true
	})
	return status
}

// underWay reports whether a request was answered that the first one under its key
// is still being carried out.
func underWay(status int, content []byte) bool {
	return status == http.StatusConflict && bytes.Contains(content, []byte("repeat this one in a moment"))
}

// get reads what is at a path.
func (w *world) get(path string, into any) error {
	request, err := http.NewRequest(http.MethodGet, w.base+path, nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(w.auth.AccountSID, w.auth.AuthToken)
	response, err := w.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s was answered with %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// next returns a URL for callbacks about one thing alone.
func (w *world) next(kind string) string { return w.ear.url(fmt.Sprintf("%s/%d", kind, w.ids.Add(1))) }

func (w *world) note(what map[string]string, key, sid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what[key] = sid
}

func (w *world) reserve(into *reserved) (hook string) {
	if into == nil {
		into = &reserved{}
	}
	hook = w.next("profile")
	w.ask("/v1/ESimProfiles", url.Values{"GenerateMatchingId": {"true"}, "CallbackUrl": {hook}}, into)
	w.note(w.profiles, hook, into.SID)
	return hook
}

func (w *world) order() {
	const count = 60
	var o bulkOrder
	w.ask(ordersPath, url.Values{"Count": {strconv.Itoa(count)}, "CallbackUrl": {w.next("order")}, "CallbackPer": {"profile"}}, &o)
	w.mu.Lock()
	w.orders[o.SID] = count
	w.mu.Unlock()
	w.again(func() bool {
		return w.get(ordersPath+"/"+o.SID, &o) == nil && o.ended()
	})
}

func (w *world) fleet() {
	var f struct {
		SID    string `json:"sid"`
		Access string `json:"network_access_profile_sid"`
	}
	w.ask("/v1/NetworkAccessProfiles", url.Values{"UniqueName": {fmt.Sprint("access", w.ids.Add(1))}}, &f)
	w.ask("/v1/Fleets", url.Values{"UniqueName": {fmt.Sprint("fleet", w.ids.Add(1))}, "NetworkAccessProfile": {f.SID}}, &f)
	w.mu.Lock()
	w.fleets[f.SID] = true
	w.mu.Unlock()
	w.ask("/v1/Fleets/"+f.SID, url.Values{"DataLimit": {"100"}}, &f)
}

// move has a Sim become active or inactive, and waits for the callback.
func (w *world) move(one *worldSim, to string) {
	hook := w.next("sim")
	w.ask("/v1/Sims/"+one.sid, url.Values{"Status": {to}, "Fleet": {"field"}, "CallbackUrl": {hook}}, nil)
	w.ear.wait(w.t, hook, to, "")
	one.status = to
}

// message sends a short message to a device.
func (w *world) message(one *worldSim) smsctest.Message {
	text := fmt.Sprintf("do %d", w.ids.Add(1))
	var m struct {
		SID string `json:"sid"`
	}
	w.ask("/v1/SmsCommands", url.Values{"Sim": {one.sid}, "Payload": {text}, "CallbackUrl": {w.next("sms")}}, &m)
	w.note(w.texts, text, m.SID)
	if one.number.To != "" {
		return smsctest.Message{}
	}
	return w.smsc.Next()
}

// text sends a short message from a device.
func (w *world) text(one *worldSim) {
	n := w.ids.Add(1)
	text := fmt.Sprintf("here is %d", n)
	w.again(func() bool {
		return w.smsc.Bound() && w.smsc.Text(one.number.To, one.number.Plan, text, uint16(n)) == 0
	})
	w.mu.Lock()
	w.said[text] = true
	w.mu.Unlock()
	passes(20 * time.Millisecond)
}

// datagram sends an IP command to a device.
func (w *world) datagram(one *worldSim) {
	payload := fmt.Sprintf("set %d", w.ids.Add(1))
	var m struct {
		SID string `json:"sid"`
	}
	port := strconv.Itoa(one.device.LocalAddr().(*net.UDPAddr).Port)
	w.ask("/v1/IpCommands", url.Values{"Sim": {one.sid}, "Payload": {payload}, "DevicePort": {port}, "CallbackUrl": {w.next("ip")}}, &m)
	w.note(w.grams, payload, m.SID)
}

// answer is a device that confirms each datagram.
func (w *world) answer(device *net.UDPConn) {
	buffer := make([]byte, command.MaxPayload)
	for {
		n, from, err := device.ReadFromUDP(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = device.WriteToUDP(fmt.Appendf(nil, "%s done %d", buffer[:n], w.ids.Add(1)), from) // nobody may be there
		}
	}
}

// report tells what a data session has come to, until that is confirmed.
func (w *world) report(one *worldSim, kind rfc2866.AcctStatusType) {
	p := radius.New(radius.CodeAccountingRequest, []byte(radiusKnown))
	for _, err := range []error{
		rfc2866.AcctStatusType_Set(p, kind), rfc2866.AcctSessionID_SetString(p, "session of "+one.iccid), rfc2865.NASIdentifier_SetString(p, "gateway"),
		rfc2865.UserName_SetString(p, one.iccid), rfc2869.EventTimestamp_Set(p, time.Now()), rfc2869.AcctInputGigawords_Set(p, 0),
		rfc2866.AcctInputOctets_Set(p, rfc2866.AcctInputOctets(one.up)), rfc2866.AcctOutputOctets_Set(p, rfc2866.AcctOutputOctets(one.down)),
		rfc2865.FramedIPAddress_Set(p, netAddress(w.place(one))),
	} {
		if err != nil {
			w.t.Error(err)
		}
	}
	w.again(func() bool {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		_, err := (&radius.Client{Retry: 300 * time.Millisecond}).Exchange(ctx, p, w.radius)
		return err == nil
	})
}

// place returns the number of a talker, from 1.
func (w *world) place(one *worldSim) int {
	for i, t := range w.talkers {
		if t == one {
			return i + 1
		}
	}
	return 0
}

// leasesLapse has the time go by, in the database of the dead server, that
// others leave to one who may still be at work: some minutes.
func (w *world) leasesLapse() {
	w.t.Helper()
	d := w.p.database(dataFlags{})
	if err := d.Write(w.t.Context(), func(tx *db.Tx) error {
		for _, where := range []string{
			"esim_profile set lease = 1 where lease > 1 and status in ('new', 'reserving')",
			"sim_change set lease = 1 where lease > 1", "settings_update set lease = 1 where lease > 1",
			"sms_command set lease = 1 where lease > 1 and status = 'queued'", "ip_command set lease = 1 where lease > 1 and status = 'queued'",
			"bulk_chunk set lease = 1 where lease > 1", "callback_delivery set due_at = 1 where state = 'due'",
		} {
			if _, err := tx.ExecContext(w.t.Context(), "update "+where); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}
