package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"godwit/db"
	"godwit/eim"
	"godwit/euicc"
	"godwit/ident"
	"godwit/internal/fuse"
	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
	"godwit/smdp"
	"godwit/trust"
)

// A site is a whole server inside of the test: SM-DP+ and eIM on one port.
type site struct {
	*testing.T
	app *app
	set *trust.Set
}

// newSite starts one.
func newSite(t *testing.T, args ...string) *site {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	var cli struct {
		Serve serveCommand `cmd:""`
	}
	parser, err := kong.New(&cli, words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{
		"serve", "--data", data, "--listen", "127.0.0.1:0", "--rsp-listen", "127.0.0.1:0",
	}, args...)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := cli.Serve.start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.app.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.close()
	})
	return &site{T: t, app: s.app, set: s.app.settings.RSP[0].Set}
}

// code orders a profile and returns its activation code.
func (s *site) code() (ident.ICCID, string) {
	s.Helper()
	header := func() rsp.RequestHeader {
		return rsp.RequestHeader{Requester: smdp.LocalRequester, Call: rand.Text()}
	}
	ordered, err := s.app.smdp.DownloadOrders(s.Context(), smdp.LocalOperator, []rsp.DownloadOrder{{Header: header(), Type: "lte-5g"}})
	if err == nil {
		err = ordered[0].Header.Err()
	}
	if err != nil {
		s.Fatal(err)
	}
	confirmed, err := s.app.smdp.ConfirmOrders(s.Context(), smdp.LocalOperator, []rsp.ConfirmOrder{{Header: header(), ICCID: ordered[0].ICCID, Release: true}})
	if err == nil {
		err = confirmed[0].Header.Err()
	}
	if err != nil {
		s.Fatal(err)
	}
	code := rsp.ActivationCode{Address: confirmed[0].SMDPAddress, MatchingID: confirmed[0].MatchingID}
	return ordered[0].ICCID, code.String()
}

// A handset is a device in the field: chip, IPA, and a way to the site that can
// fail.
type handset struct {
	*site
	card     *euicc.Card
	emulated bool
	agent    crypto.Signer
	config   iot.EimConfiguration
	ipa      *ipa.IPA
	indirect bool
	json     bool

	chipJournal, ipaJournal ipa.MemoryJournal
	fault                   faults
}

// faults are what goes wrong on the way.
type faults struct {
	fuse.Fuse
	lose func(path string, answer bool) bool
	cut  func() bool // nothing can be reached
}

var errLostThere = errors.New("lost on the way")

type faultyTransport struct {
	*http.Transport
	fault *faults
}

func (t *faultyTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	if err := t.fault.Tick(); err != nil {
		return nil, err
	}
	if t.fault.cut != nil && t.fault.cut() || t.fault.lose != nil && t.fault.lose(q.URL.Path, false) {
		return nil, errLostThere
	}
	p, err := t.Transport.RoundTrip(q)
	gone := t.fault.Tick()
	if err == nil && (gone != nil || t.fault.lose != nil && t.fault.lose(q.URL.Path, true)) {
		p.Body.Close()
		return nil, errors.Join(errLostThere, gone)
	}
	return p, err
}

// handset makes a device with a fresh chip and registers it at the eIM.
func (s *site) handset(t *testing.T, n int, emulated bool) *handset {
	t.Helper()
	eid, err := ident.NewEID(fmt.Sprintf("%s%022d", trust.EIDPrefix, n))
	if err != nil {
		t.Fatal(err)
	}
	config, err := chipOf(s.set, eid)
	if err != nil {
		t.Fatal(err)
	}
	config.IoT = !emulated
	h := &handset{site: s, emulated: emulated}
	if h.card, err = euicc.NewMemory(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.card.Close() })
	known := eim.EUICC{EID: eid}
	if emulated {
		if h.agent, err = pki.GenerateKey(pki.P256); err != nil {
			t.Fatal(err)
		}
		if known.AgentKey, err = x509.MarshalPKIXPublicKey(h.agent.Public()); err != nil {
			t.Fatal(err)
		}
	}
	err = s.app.db.Write(t.Context(), func(tx *db.Tx) (err error) {
		if err := s.app.eim.Register(t.Context(), tx, known); err != nil {
			return err
		}
		h.config, err = s.app.eim.Initial(t.Context(), tx, eid)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.start(t)
	if _, err := h.ipa.Chip.AddInitialEim([]iot.EimConfiguration{h.config}); err != nil {
		t.Fatal(err)
	}
	return h
}

// start begins a life of the device.
func (h *handset) start(t *testing.T) {
	t.Helper()
	h.fault.Set(0)
	if err := h.card.Reset(); err != nil {
		t.Fatal(err)
	}
	card := &fuse.Card{Card: h.card, Fuse: &h.fault.Fuse}
	var chip ipa.Chip
	var err error
	if h.emulated {
		chip, err = ipa.Consumer(card, &fuse.Journal{Journal: &h.chipJournal, Fuse: &h.fault.Fuse}, h.agent)
	} else {
		chip, err = ipa.SGP32(card)
	}
	if err != nil {
		t.Fatal(err)
	}
	client, err := ipa.NewClient(&h.config, ipa.Trust{})
	if err != nil {
		t.Fatal(err)
	}
	client.JSON = h.json
	roots, err := pki.NewRoots(h.card.CIs()...)
	if err != nil {
		t.Fatal(err)
	}
	plain := lpa.NewHTTPClient(lpa.Trust{Roots: roots})
	for _, c := range []*http.Client{client.HTTP, plain} {
		c.Transport = &faultyTransport{c.Transport.(*http.Transport), &h.fault}
		t.Cleanup(c.CloseIdleConnections)
	}
	h.ipa = &ipa.IPA{
		Chip: chip, LPA: &lpa.LPA{Chip: chip.LPA(), HTTP: plain}, ESipa: client, EimID: h.config.ID,
		Journal: &fuse.Journal{Journal: &h.ipaJournal, Fuse: &h.fault.Fuse}, Indirect: h.indirect, ReachFor: time.Minute,
	}
}

// queue gives the eIM a task and returns its identifier.
func (h *handset) queue(t *testing.T, task eim.Task) string {
	t.Helper()
	id := make([]byte, 16)
	rand.Read(id)
	task.ID, task.EID = hex.EncodeToString(id), h.ipa.Chip.EID()
	err := h.app.db.Write(t.Context(), func(tx *db.Tx) error { return h.app.eim.Queue(t.Context(), tx, task) })
	if err != nil {
		t.Fatal(err)
	}
	return task.ID
}

// work polls until nothing is left, whatever is lost on the way. It reports
// whether the power went.
func (h *handset) work(t *testing.T) (gone bool) {
	t.Helper()
	for range 100 {
		more, err := h.ipa.Poll(t.Context())
		switch {
		case h.fault.Blown():
			return true
		case err != nil && !errors.Is(err, errLostThere):
			t.Fatal(err)
		case err == nil && !more:
			return false
		}
	}
	t.Fatal("the work does not end")
	return false
}

// ended returns how the eIM saw a task end.
func (h *handset) ended(t *testing.T, id string) (stage, reason, message string) {
	t.Helper()
	err := h.app.db.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `select stage, reason, message from eim_task where id = $1`, id).Scan(&stage, &reason, &message)
	})
	if err != nil {
		t.Fatal(err)
	}
	return stage, reason, message
}

func (h *handset) expect(t *testing.T, what, id, stage, reason string) {
	t.Helper()
	gotStage, gotReason, message := h.ended(t, id)
	if gotStage != stage || gotReason != reason {
		t.Errorf("%s: %s %s (%s), want %s %s", what, gotStage, gotReason, message, stage, reason)
	}
}

// listed returns the profiles as the eIM knows them from the device, with the one
// that is enabled.
func (h *handset) listed(t *testing.T) (iccids []ident.ICCID, enabled ident.ICCID) {
	t.Helper()
	var list []byte
	err := h.app.db.Read(t.Context(), func(q db.Query) error {
		return q.QueryRowContext(t.Context(), `select profiles from eim_euicc where eid = $1`, string(h.ipa.Chip.EID())).Scan(&list)
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := iot.ReadResult(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Results[len(r.Results)-1].Profiles {
		iccids = append(iccids, p.ICCID)
		if p.Enabled != nil && *p.Enabled {
			enabled = p.ICCID
		}
	}
	return iccids, enabled
}

func (h *handset) enabled() ident.ICCID {
	for _, p := range h.card.Profiles() {
		if p.Enabled {
			return p.ICCID
		}
	}
	return ""
}

// devices runs a test for both kinds of chips and both ways of downloading.
func devices(t *testing.T, s *site, test func(t *testing.T, h *handset)) {
	n := 0
	for _, emulated := range []bool{false, true} {
		for _, indirect := range []bool{false, true} {
			n++
			name := map[bool]string{false: "SGP.32", true: "consumer"}[emulated] + map[bool]string{false: " direct", true: " indirect"}[indirect]
			t.Run(name, func(t *testing.T) {
				h := s.handset(t, 1000+n, emulated)
				h.indirect, h.json = indirect, indirect
				h.start(t)
				test(t, h)
			})
		}
	}
}

// TestIPAWithEIM: the life of a device between our own SM-DP+ and eIM.
func TestIPAWithEIM(t *testing.T) {
	s := newSite(t)
	devices(t, s, func(t *testing.T, h *handset) {
		h.work(t) // the first contact
		if iccids, _ := h.listed(t); len(iccids) != 0 {
			t.Errorf("a fresh chip has %v", iccids)
		}
		one, code := s.code()
		first := h.queue(t, eim.Task{Kind: eim.Download, ActivationCode: db.Secret(code)})
		h.work(t)
		h.expect(t, "download", first, "done", "complete")
		used := h.queue(t, eim.Task{Kind: eim.Download, ActivationCode: db.Secret(code)})
		h.work(t)
		h.expect(t, "download again", used, "failed", "code_invalid")

		on := h.queue(t, eim.Task{Kind: eim.Enable, ICCID: one})
		h.work(t)
		h.expect(t, "enable", on, "done", "complete")
		two, code := s.code()
		second := h.queue(t, eim.Task{Kind: eim.Download, ActivationCode: db.Secret(code)})
		h.work(t)
		h.expect(t, "second download", second, "done", "complete")

		// The second profile leads nowhere.
		h.fault.cut = func() bool { return h.enabled() == two }
		h.ipa.ReachFor = 10 * time.Millisecond
		trial := h.queue(t, eim.Task{Kind: eim.Enable, ICCID: two, Rollback: true})
		h.work(t)
		h.expect(t, "enable what leads nowhere", trial, "failed", "rolled_back")
		if _, enabled := h.listed(t); enabled != one || h.enabled() != one {
			t.Errorf("enabled is %s, and the eIM thinks %s", h.enabled(), enabled)
		}
		h.fault.cut, h.ipa.ReachFor = nil, time.Minute
		trial = h.queue(t, eim.Task{Kind: eim.Enable, ICCID: two, Rollback: true})
		h.work(t)
		h.expect(t, "enable with rollback", trial, "done", "complete")
		busy := h.queue(t, eim.Task{Kind: eim.Delete, ICCID: two})
		gone := h.queue(t, eim.Task{Kind: eim.Delete, ICCID: one})
		missing := h.queue(t, eim.Task{Kind: eim.Enable, ICCID: one})
		h.work(t)
		h.expect(t, "delete what is enabled", busy, "failed", "profile_active")
		h.expect(t, "delete", gone, "done", "complete")
		h.expect(t, "enable what is gone", missing, "failed", "profile_missing")
		off := h.queue(t, eim.Task{Kind: eim.Disable, ICCID: two})
		h.work(t)
		h.expect(t, "disable", off, "done", "complete")
		if iccids, enabled := h.listed(t); len(iccids) != 1 || iccids[0] != two || enabled != "" {
			t.Errorf("the eIM knows %v, enabled %q", iccids, enabled)
		}
		if left, err := h.ipa.LPA.Chip.Pending(); err != nil || len(left) != 0 {
			t.Errorf("%d notifications wait, %v", len(left), err)
		}
	})
}

// TestIPALostAnswers: messages are lost, by turns before and after they were heard.
// Nothing happens twice, nothing is forgotten.
func TestIPALostAnswers(t *testing.T) {
	s := newSite(t)
	devices(t, s, func(t *testing.T, h *handset) {
		h.work(t)
		n := 0
		h.fault.lose = func(path string, answer bool) bool {
			n++
			return n%9 == 0 // there are two calls for each message
		}
		iccid, code := s.code()
		ids := []string{h.queue(t, eim.Task{Kind: eim.Download, ActivationCode: db.Secret(code)})}
		ids = append(ids, h.queue(t, eim.Task{Kind: eim.Enable, ICCID: iccid}),
			h.queue(t, eim.Task{Kind: eim.Disable, ICCID: iccid}), h.queue(t, eim.Task{Kind: eim.Delete, ICCID: iccid}))
		h.work(t)
		h.fault.lose = nil
		h.work(t)
		for i, id := range ids {
			h.expect(t, fmt.Sprint("task ", i+1), id, "done", "complete")
		}
		if left := h.card.Profiles(); len(left) != 0 {
			t.Errorf("profiles %+v", left)
		}
	})
}

// TestIPAPowerCuts: the power goes at one deed after the other between order and
// enabled profile, and the device goes on from there.
func TestIPAPowerCuts(t *testing.T) {
	s := newSite(t)
	for _, emulated := range []bool{false, true} {
		for _, indirect := range []bool{false, true} {
			t.Run(fmt.Sprintf("emulated %v, indirect %v", emulated, indirect), func(t *testing.T) {
				cuts := 0
				for at := 1; ; at += 17 {
					n := 5000 + at
					if emulated {
						n += 1000
					}
					if indirect {
						n += 2000
					}
					h := s.handset(t, n, emulated)
					h.indirect = indirect
					h.start(t)
					h.work(t)
					iccid, code := s.code()
					one := h.queue(t, eim.Task{Kind: eim.Download, ActivationCode: db.Secret(code)})
					two := h.queue(t, eim.Task{Kind: eim.Enable, ICCID: iccid})
					h.fault.Set(at)
					gone := h.work(t)
					if gone {
						h.start(t)
						h.work(t)
					}
					h.fault.Set(0)
					h.expect(t, "download", one, "done", "complete")
					h.expect(t, "enable", two, "done", "complete")
					if _, enabled := h.listed(t); enabled != iccid || h.enabled() != iccid {
						t.Errorf("enabled is %q, and the eIM thinks %q", h.enabled(), enabled)
					}
					if t.Failed() {
						t.Fatalf("the power went at deed %d", at)
					}
					if !gone {
						break
					}
					cuts++
				}
				if cuts < 5 {
					t.Errorf("only %d cuts", cuts)
				}
			})
		}
	}
}
