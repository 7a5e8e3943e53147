package main

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"godwit/device"
	"godwit/euicc"
	"godwit/ident"
	"godwit/reader/modemtest"
)

// A modemWay is a way to a modem's eUICC by a proxy of others.
type modemWay struct {
	proxy string // the program
	card  string // --card
	serve func(*modemtest.Modem) func(io.ReadWriteCloser)
}

// controlPort is where a test plugs its modem in.
const controlPort = "/run/cdc-wdm0"

var (
	byQMI = modemWay{"qmi-proxy", "qmi:" + controlPort, func(m *modemtest.Modem) func(io.ReadWriteCloser) { return m.ServeQMI }}

	byMBIM = modemWay{"mbim-proxy", "mbim:" + controlPort, func(m *modemtest.Modem) func(io.ReadWriteCloser) { return m.ServeMBIM }}
)

func (w modemWay) plug(t *testing.T, m *modemtest.Modem) *modemtest.Port {
	t.Helper()
	port, err := m.Plug(controlPort, w.serve(m))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(port.Unplug)
	return port
}

// there skips a test by name where what it needs is not on the machine.
func (w modemWay) there(t *testing.T) {
	t.Helper()
	stranger(t, "", w.proxy)
	if terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		t.Skipf("%s skipped: this machine has no terminals for a modem's port: %v", t.Name(), err)
	} else {
		terminal.Close()
	}
}

// startProxy starts the proxy and waits until it listens.
func (w modemWay) startProxy(t *testing.T) (stop func()) {
	t.Helper()
	command := foreign(context.Background(), stranger(t, "", w.proxy), "--no-exit")
	n := startStranger(t, command)
	until(t, w.proxy+" listens", n, func() bool {
		conn, err := net.Dial("unix", "@"+w.proxy)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return func() {
		command.Process.Signal(syscall.SIGTERM)
		<-n.ended
	}
}

// modemWith is a modem with a chip in its second slot; the first is empty.
func modemWith(t *testing.T, dir string) *modemtest.Modem {
	t.Helper()
	card, err := euicc.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	return &modemtest.Modem{Cards: []*euicc.Card{nil, card}}
}

// TestStrangerQMI and TestStrangerMBIM have the agent reach its chip in a modem
// behind the real proxy. The modem is ours, behind a character device; qmicli and
// mbimcli say that it is one.
func TestStrangerQMI(t *testing.T) {
	t.Parallel() // most of it is the agent's own pauses
	byQMI.there(t)
	if inside(t) {
		t.Run("qmicli", func(t *testing.T) {
			qmicli := stranger(t, "", "qmicli")
			byQMI.strangers(t, func(t *testing.T, want func(want string, args ...string)) {
				talk := func(args ...string) []string {
					return slices.Concat(qmicli, []string{"-p", "--device-open-qmi", "-d", controlPort}, args)
				}
				want(`(?s)2 physical slots found.*Card status: absent\s+Slot status: active.*Card status: present\s+Slot status: inactive`, talk("--uim-get-slot-status")...)
				want(`Card state: 'absent`, talk("--uim-get-card-status")...)
				want(`Successfully switched slots`, talk("--uim-switch-slot=2")...)
				want(`(?s)Card state: 'present'.*usim.*'ready'`, talk("--uim-get-card-status")...)
			})
		})
		t.Run("agent", func(t *testing.T) { byQMI.walk(t, false) })
	}
}

func TestStrangerMBIM(t *testing.T) {
	t.Parallel() // most of it is the agent's own pauses
	byMBIM.there(t)
	if inside(t) {
		t.Run("mbimcli", func(t *testing.T) {
			mbimcli := stranger(t, "", "mbimcli")
			byMBIM.strangers(t, func(t *testing.T, want func(want string, args ...string)) {
				talk := func(args ...string) []string {
					return slices.Concat(mbimcli, []string{"-p", "-d", controlPort}, args)
				}
				want(`Executor '0': slot '0'`, talk("--ms-query-device-slot-mappings")...)
				want(`Ready state: 'sim-not-inserted'`, talk("--query-subscriber-ready-status")...)
				want(`Executor '0': slot '1'`, talk("--ms-set-device-slot-mappings=1")...)
				want(`status: 144\s+channel: 1`, talk("--ms-set-uicc-open-channel=application-id=A0000005591010FFFFFFFF8900000100,selectp2arg=0,channel-group=7")...)
				// 6115: the answer is to be fetched. It is the EID.
				apdu := "--ms-set-uicc-apdu=channel=1,secure-message=none,classbyte-type=inter-industry,command="
				want(`status: 5473`, talk(apdu+"81E2910006BF3E035C015A")...)
				want(`response: BF:3E:12:5A:10:`, talk(apdu+"01C0000015")...)
				want(`status: 144`, talk("--ms-set-uicc-close-channel=channel=1,channel-group=7")...)
			})
		})
		t.Run("agent", func(t *testing.T) { byMBIM.walk(t, true) })
	}
}

// strangers has a program of others work with the modem.
func (w modemWay) strangers(t *testing.T, work func(t *testing.T, want func(want string, args ...string))) {
	p := startServer(t)
	m := modemWith(t, chipIn(t, testChip(t, p, 9)))
	w.plug(t, m)
	w.startProxy(t)
	work(t, func(want string, line ...string) {
		t.Helper()
		said, err := runStranger(t, line)
		if err != nil || !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("%s: %v, want %s in\n%s", strings.Join(line, " "), err, want, said)
		}
	})
}

// walk has an agent live with the modem: it enrols, downloads, enables and
// reports, loses the modem in the middle of a download, and loses the proxy.
func (w modemWay) walk(t *testing.T, iot bool) {
	y := newYard(t)
	p := y.newPost(1, iot).asUser()
	m := modemWith(t, p.chip)
	port := w.plug(t, m)
	stop := w.startProxy(t)
	var command *exec.Cmd
	var n *neighbour
	start := func() {
		command = program(context.Background(), slices.Concat([]string{"agent"}, p.args, []string{
			"--card", w.card + "?slot=2", "--ca", y.credentials.CICertificate, "--poll", "1s",
		})...)
		endWithTest(command)
		n = startStranger(t, command)
	}
	start()
	do := func(a device.Action, change func(*device.ActionRequest)) device.Transaction {
		t.Helper()
		id := p.act(a, change)
		until(t, "the "+string(a)+" has ended", n, func() bool { return p.transaction(id).Status != device.TxInProgress })
		return p.transaction(id)
	}
	download := func() device.Transaction {
		t.Helper()
		code := y.code()
		return do(device.Download, func(r *device.ActionRequest) { r.ActivationCode = code })
	}
	wantActive := func(iccid ident.ICCID) {
		t.Helper()
		until(t, "the profile is reported as active", n, func() bool {
			one, err := y.devices().Profile(t.Context(), y.by.Account, iccid)
			return err == nil && one.Active
		})
	}
	enable := func(iccid ident.ICCID) {
		t.Helper()
		if got := do(device.Enable, func(r *device.ActionRequest) { r.ICCID = iccid }); got.Status != device.TxComplete {
			t.Fatalf("enable: %s", got.Message)
		}
		wantActive(iccid)
	}
	until(t, "the device is there", n, func() bool {
		e, err := y.devices().ESIM(t.Context(), y.by.Account, p.eid)
		return err == nil && !e.ReportedAt.IsZero()
	})
	first := download()
	if first.Status != device.TxComplete {
		t.Fatalf("download: %s", first.Message)
	}
	enable(first.ICCID)

	m.Change(func() { m.Falls = 30 })
	code := y.code()
	cut := p.act(device.Download, func(r *device.ActionRequest) { r.ActivationCode = code })
	until(t, "the modem restarts", n, func() bool {
		select {
		case <-port.Gone:
			return true
		default:
			return false
		}
	})
	port.Unplug()
	w.plug(t, m)
	until(t, "the download that was cut has ended", n, func() bool { return p.transaction(cut).Status != device.TxInProgress })
	t.Logf("the download in which the modem restarted is %s: %s", p.transaction(cut).Status, p.transaction(cut).Message)
	second := download()
	if second.Status != device.TxComplete {
		t.Fatalf("download after the modem has come back: %s", second.Message)
	}

	stop()
	id := p.act(device.Enable, func(r *device.ActionRequest) { r.ICCID = second.ICCID })
	until(t, "the agent says what is missing", n, func() bool {
		return strings.Contains(n.output.String(), w.proxy+" is not running: install the package lib"+w.proxy)
	})
	stop = w.startProxy(t)
	until(t, "it goes on", n, func() bool { return p.transaction(id).Status != device.TxInProgress })
	p.wantDone(id)
	wantActive(second.ICCID)

	until(t, "a channel is open", n, func() bool { return m.Channels() > 0 })
	command.Process.Kill()
	<-n.ended
	lost := m.Clients()
	t.Logf("after the agent was killed it still has %d channels and %d client IDs", m.Channels(), lost)
	m.Change(func() { m.Most = 2 }) // one beside that
	start()
	enable(first.ICCID)

	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-n.ended
	if code := command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("told to end, the agent exits with %d:\n%s", code, n.output)
	}
	if left, clients := m.Channels(), m.Clients(); left != 0 || clients != lost {
		t.Errorf("the modem is left with %d channels and %d clients", left, clients)
	}
	stop()
	m.Cards[1].Close()
	want := []string{string(first.ICCID) + " true", string(second.ICCID) + " false"}
	if p.transaction(cut).Status == device.TxComplete {
		want = append(want, string(p.transaction(cut).ICCID)+" false")
	}
	p.wantProfiles(want...)
}
