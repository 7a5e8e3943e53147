package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/alecthomas/kong"

	"godwit/db"
	"godwit/device"
	"godwit/euicc"
	"godwit/ident"
	"godwit/lpa"
	"godwit/rsp"
)

// A yard is a server in this process with devices beside it, whose agents are
// processes of their own.
type yard struct {
	*process
	app *app
	by  device.By
}

// newYard starts a server in this process.
func newYard(t *testing.T, args ...string) *yard {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	ports := freePorts(t, 2)
	var cli commands
	parser, err := kong.New(&cli, words)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"serve", "--data", data, "--listen", ports[0], "--rsp-listen", ports[1]}, args...)); err != nil {
		t.Fatal(err)
	}
	s, err := cli.Serve.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.app.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		s.close()
	})
	y := &yard{process: &process{t: t, data: data}, app: s.app}
	if err := json.Unmarshal(godwit(t, "credentials", "--data", data), &y.credentials); err != nil {
		t.Fatal(err)
	}
	y.by = device.By{Account: y.credentials.AccountSID, User: y.credentials.RMUser, Source: "test"}
	return y
}

func (y *yard) devices() *device.Store { return y.app.devices }

// A post is a device with an agent.
type post struct {
	y    *yard
	id   device.ID
	eid  ident.EID
	chip string // directory
	args []string
}

// newPost makes a device that was never enrolled, with a chip of a kind.
func (y *yard) newPost(serial int, iot bool) *post {
	y.t.Helper()
	config := testChip(y.t, y.process, serial)
	config.IoT = iot
	chip := chipIn(y.t, config)
	p := &post{y: y, id: device.ID(fmt.Sprintf("00000000-00000000-0004F3FF-FF%06X", serial)), eid: config.EID, chip: chip}
	p.args = []string{
		"--server", y.credentials.BaseURL, "--card", "euicc:" + chip, "--state", filepath.Join(y.t.TempDir(), "state"), "--device-id", string(p.id),
	}
	return p
}

// asUser has the first enrolment vouched for by a user.
func (p *post) asUser() *post {
	p.args = append(p.args, "--user", p.y.credentials.RMUser, "--password", p.y.credentials.RMPassword)
	return p
}

// once has the agent do what waits; what it says is returned.
func (p *post) once(ctx context.Context, more ...string) (string, error) {
	command := program(ctx, slices.Concat([]string{"agent"}, p.args, []string{"--once"}, more)...)
	endWithTest(command)
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	err := command.Run()
	return said.String(), err
}

func (p *post) must(more ...string) string {
	p.y.t.Helper()
	said, err := p.once(p.y.t.Context(), more...)
	if err != nil {
		p.y.t.Fatalf("the agent of %s: %v\n%s", p.id, err, said)
	}
	return said
}

// act asks for an action and returns its transaction's number.
func (p *post) act(a device.Action, change func(*device.ActionRequest)) string {
	p.y.t.Helper()
	r := device.ActionRequest{Action: a, Device: p.id, EID: p.eid}
	change(&r)
	t, err := p.y.devices().Act(p.y.t.Context(), p.y.by, r)
	if err != nil {
		p.y.t.Fatalf("%s: %v", a, err)
	}
	return t.ID
}

func (p *post) transaction(id string) device.Transaction {
	p.y.t.Helper()
	t, err := p.y.devices().Transaction(p.y.t.Context(), p.y.by.Account, id)
	if err != nil {
		p.y.t.Fatal(err)
	}
	return t
}

// wantDone has a transaction be complete.
func (p *post) wantDone(id string) device.Transaction {
	p.y.t.Helper()
	t := p.transaction(id)
	if t.Status != device.TxComplete {
		p.y.t.Fatalf("%s of %s is %s: %s (%s)", t.Action, t.ICCID, t.Status, t.Message, t.MessageCode)
	}
	return t
}

// profiles are the profiles that the server believes to be on the chip, and
// those that are: both as "ICCID enabled".
func (p *post) profiles() (believed, real []string) {
	p.y.t.Helper()
	err := p.y.app.db.Read(p.y.t.Context(), func(q db.Query) error {
		rows, err := q.QueryContext(p.y.t.Context(), `select iccid, status from device_profile where eid = $1`, string(p.eid))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var iccid, status string
			if err := rows.Scan(&iccid, &status); err != nil {
				return err
			}
			believed = append(believed, fmt.Sprint(iccid, " ", status == "active"))
		}
		return rows.Err()
	})
	if err != nil {
		p.y.t.Fatal(err)
	}
	card, err := euicc.Open(p.chip)
	if err != nil {
		p.y.t.Fatal(err)
	}
	defer card.Close()
	chip, err := lpa.OpenChip(card)
	if err != nil {
		p.y.t.Fatal(err)
	}
	list, err := chip.Profiles(rsp.Selector{})
	if err != nil {
		p.y.t.Fatal(err)
	}
	for _, one := range list {
		real = append(real, fmt.Sprint(one.ICCID, " ", *one.Enabled))
	}
	slices.Sort(believed)
	slices.Sort(real)
	return believed, real
}

// wantProfiles has the server believe what is on the chip, which is want.
func (p *post) wantProfiles(want ...string) {
	p.y.t.Helper()
	slices.Sort(want)
	if believed, real := p.profiles(); !slices.Equal(believed, want) || !slices.Equal(real, want) {
		p.y.t.Errorf("the server believes %q, the chip has %q, want %q", believed, real, want)
	}
}

func (y *yard) code() db.Secret {
	y.t.Helper()
	return db.Secret("LPA:" + book(y.t, y.process, "GenerateMatchingId", "true").ActivationCode)
}
