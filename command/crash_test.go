package command

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/ident"
	"godwit/internal/clock"
	"godwit/sim"
	"godwit/smsc"
	"godwit/smsc/smsctest"
)

// The process that TestKilled kills is this test binary again.
const (
	workerURL  = "GODWIT_TEST_COMMAND_DB"
	workerSMSC = "GODWIT_TEST_COMMAND_SMSC"
	workerLate = "GODWIT_TEST_COMMAND_LATE" // its clock is ahead by this
)

func TestMain(m *testing.M) {
	if url := os.Getenv(workerURL); url != "" {
		if err := workUntilKilled(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// anyone gives every card a number.
type anyone struct{ Directory }

func (anyone) Number(_ context.Context, iccid ident.ICCID) (smsc.Number, error) {
	return smsc.Number{Plan: smsc.E212, Digits: string(iccid)[4:19]}, nil
}

func workUntilKilled(url string) error {
	ctx := context.Background()
	ahead, err := time.ParseDuration(os.Getenv(workerLate))
	if err != nil {
		return err
	}
	d, err := db.Open(ctx, url, dbtest.Options())
	if err != nil {
		return err
	}
	s := newStore(&testing.T{}, d, func() time.Time { return time.Now().Add(ahead) })
	s.Numbers = anyone{}
	s.SMSC = smsc.New(smsc.Options{
		Address: os.Getenv(workerSMSC), SystemID: smsctest.SystemID, Password: []byte(smsctest.Password), Source: smsc.Number{Digits: "000"},
		Take: s.Take, Bound: s.Bound,
	})
	go func() { _ = s.SMSC.Run(ctx) }() // until it is killed
	return s.Jobs.Run(ctx)
}

// TestKilled kills the process in the middle of a hundred messages, between the
// SMSC's acceptance of one and its answer. Afterwards every message is sent; one
// whose acceptance was stored is never sent again, and each that was is on
// record.
func TestKilled(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d := dbtest.Open(t, url)
		h := &house{numbers: Directory{}, clock: &clock.Clock{}}
		h.Store = newStore(t, d, nil)
		h.account = h.customer(t)
		fleet := h.fleet(t, true, true).SID
		var all []SMS
		for i := range 10 {
			one := h.device(t, fleet, sim.Active)
			for j := range 10 {
				m, err := h.SendSMS(t.Context(), h.account, one.SID, fmt.Sprintf("%d/%d", i, j), sim.Callback{})
				check(t, err)
				all = append(all, m)
			}
		}
		centre := smsctest.Start(t)
		work := func(ahead time.Duration) *exec.Cmd {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), workerURL+"="+url, workerSMSC+"="+centre.Addr(), workerLate+"="+ahead.String())
			check(t, c.Start())
			return c
		}
		first := work(0)
		t.Cleanup(func() { _ = first.Process.Kill() }) // if it did not come so far
		n := 0
		killed := make(chan struct{})
		centre.Early(func(smsctest.Message) { // the SMSC has it, and has not said so
			if n++; n == 40 {
				_ = first.Process.Kill()
				_ = first.Wait() // until it hears no answer any more
				close(killed)
			}
		})
		select {
		case <-killed:
		case <-time.After(2 * time.Minute):
			t.Fatal("the process did not get so far")
		}
		centre.Early(nil)
		known := map[string]bool{}
		for _, m := range all {
			known[m.Payload] = h.sms(t, m.SID).Status == Sent
		}
		before := len(centre.Accepted())

		second := work(2 * smsLease) // the first one's leases have lapsed
		defer func() {
			_ = second.Process.Kill()
			_ = second.Wait()
		}()
		await(t, "end", func() bool {
			l, err := h.SMSs(context.Background(), h.account, Filter{Status: Queued}, sim.Page{Limit: 1})
			check(t, err)
			return len(l.Items) == 0
		})
		times := map[string]int{}
		for i, m := range centre.Accepted() {
			if times[m.Text]++; i >= before && known[m.Text] {
				t.Errorf("%s was sent again although it was known that the SMSC has it", m.Text)
			}
		}
		twice := 0
		for _, m := range all {
			if got := h.sms(t, m.SID); got.Status != Sent {
				t.Errorf("%s is %s (%s)", m.Payload, got.Status, got.Reason)
			}
			repeated := 0
			for _, e := range h.events(t, m.SID) {
				if strings.HasSuffix(e.Kind, ".repeated") {
					repeated++
				}
			}
			if times[m.Payload] < 1 || times[m.Payload] > 1+repeated {
				t.Errorf("the SMSC has %s %d times, the record says %d repeated", m.Payload, times[m.Payload], repeated)
			}
			if times[m.Payload] > 1 {
				twice++
			}
		}
		if twice == 0 {
			t.Error("the kill has hit no message between acceptance and answer: the test has lost its point")
		}
	})
}
