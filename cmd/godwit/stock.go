package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"godwit/ident"
	"godwit/rsp"
	"godwit/saip"
	"godwit/smdp"
)

// stockCommand is the SM-DP+'s stock from the terminal.
type stockCommand struct {
	Types    stockTypesCommand    `cmd:"" help:"List profile types."`
	AddType  stockAddTypeCommand  `cmd:"" help:"Make a profile type of a template, metadata and protection. It never changes afterwards."`
	Import   stockImportCommand   `cmd:"" help:"Bring profiles from a CSV file into stock: all of them or none."`
	Generate stockGenerateCommand `cmd:"" help:"Make up profiles with consecutive numbers and random keys."`
	List     stockListCommand     `cmd:"" help:"List profiles, by ICCID."`
	Count    stockCountCommand    `cmd:"" help:"Count profiles by type and state."`
	Show     stockShowCommand     `cmd:"" help:"Show one profile."`
}

// openStock opens the SM-DP+ of a data directory for looking after it; nothing
// is served.
func (f dataFlags) openStock(ctx context.Context) (*smdp.Server, func(), error) {
	d, err := f.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	announced := "localhost"
	if at, err := f.addresses(); err == nil {
		announced = at.SMDPAddress
	}
	s, err := smdp.Open(ctx, d, smdp.Config{Addresses: []string{announced}})
	if err != nil {
		d.Close()
		return nil, nil, err
	}
	return s, func() { d.Close() }, nil
}

// printJSON prints a value for scripts.
func printJSON(v any) error {
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// A meter shows how far long work has come: a bar when a person watches,
// nothing otherwise.
type meter struct {
	what   string
	total  int // 0 when not known
	people bool
	last   time.Time
	out    io.Writer
}

func newMeter(what string, total int) *meter {
	return &meter{what: what, total: total, people: isatty.IsTerminal(os.Stderr.Fd()), out: os.Stderr}
}

func (m *meter) at(n int) {
	if !m.people || time.Since(m.last) < 100*time.Millisecond && n != m.total {
		return
	}
	m.last = time.Now()
	if m.total <= 0 {
		fmt.Fprintf(m.out, "\r%s %d\x1b[K", m.what, n)
		return
	}
	const width = 40
	full := min(width, n*width/m.total)
	fmt.Fprintf(m.out, "\r%s [%s%s] %3d %%\x1b[K", m.what, strings.Repeat("#", full), strings.Repeat(" ", width-full), n*100/m.total)
}

func (m *meter) end() {
	if m.people && !m.last.IsZero() {
		fmt.Fprintln(m.out)
	}
}

type stockTypesCommand struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c stockTypesCommand) Run(ctx context.Context) error {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	types, err := s.Types(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(types)
	}
	for _, t := range types {
		fmt.Fprintf(stdout, "%-24s %s: %d octets, %s keys, shown as %q of %q\n", t.ID, t.Name, len(t.Template), t.Protection,
			t.Metadata.Name, t.Metadata.ServiceProvider)
	}
	return nil
}

type stockAddTypeCommand struct {
	dataFlags
	ID         string          `arg:"" help:"What orders will call it."`
	Template   string          `required:"" help:"SAIP package in DER, or one of the program's own: minimal-usim, full-usim-isim." placeholder:"FILE|NAME"`
	Title      string          `help:"Description for people."`
	Metadata   string          `type:"existingfile" help:"JSON file with the metadata, in place of the flags below." placeholder:"FILE"`
	Provider   string          `help:"Service provider name that users see." default:"Godwit"`
	Name       string          `help:"Profile name that users see."`
	Icon       string          `type:"existingfile" help:"PNG or JPEG, 64 by 64 pixels, at most 1024 octets." placeholder:"FILE"`
	Class      string          `enum:"operational,provisioning,test" default:"operational" help:"operational, provisioning or test."`
	Owner      string          `help:"MCC/MNC of the profile owner, as 001/01; required with policy rules." placeholder:"MCC/MNC"`
	GID1       string          `name:"gid1" help:"Group identifier 1 of the owner, hexadecimal."`
	GID2       string          `name:"gid2" help:"Group identifier 2 of the owner, hexadecimal."`
	PPR        []string        `name:"ppr" help:"Policy rules: ppr1 (may not be disabled), ppr2 (may not be deleted)."`
	Notify     []string        `help:"Events that eUICCs report, to this server or to the address after @." placeholder:"EVENT[@ADDRESS]" default:"enable,disable,delete"`
	Access     []string        `help:"Radio access that the device must have, as eutran or nr5gc."`
	Protection smdp.Protection `enum:"session,ppk" default:"session" help:"session (keys of each delivery) or ppk (random keys kept with the profile)."`
	SMSC       string          `name:"smsc" help:"Service centre address of all profiles of the type."`
	Routing    string          `help:"5G routing indicator of all profiles of the type."`
	SPN        string          `name:"spn" help:"Service provider name in the SIM of all profiles of the type."`
	SUCI       string          `name:"suci" type:"existingfile" help:"JSON file with the home network's keys for concealing the SUPI." placeholder:"FILE"`
}

func (c stockAddTypeCommand) Run(ctx context.Context) error {
	t := smdp.ProfileType{ID: c.ID, Name: c.Title, Protection: c.Protection}
	var err error
	if t.Template, err = c.template(); err != nil {
		return err
	}
	if t.Metadata, err = c.metadata(); err != nil {
		return err
	}
	t.Defaults = saip.Personal{SMSC: c.SMSC, RoutingIndicator: c.Routing, SPN: c.SPN}
	if c.SUCI != "" {
		content, err := os.ReadFile(c.SUCI)
		if err != nil {
			return err
		}
		t.Defaults.SUCI = &saip.SUCI{}
		if err := json.Unmarshal(content, t.Defaults.SUCI); err != nil {
			return fmt.Errorf("%s: %w", c.SUCI, err)
		}
	}
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.AddType(ctx, t); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "profile type %s is ready to be stocked\n", c.ID)
	return nil
}

func (c stockAddTypeCommand) template() ([]byte, error) {
	for _, t := range saip.Templates() {
		if t.Name == c.Template {
			return t.Bytes(), nil
		}
	}
	content, err := os.ReadFile(c.Template)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--template: there is neither a file %s nor a template of that name; `godwit profile templates` lists them", c.Template)
	}
	return content, err
}

func (c stockAddTypeCommand) metadata() (smdp.Metadata, error) {
	var m smdp.Metadata
	if c.Metadata != "" {
		content, err := os.ReadFile(c.Metadata)
		if err != nil {
			return m, err
		}
		if err := json.Unmarshal(content, &m); err != nil {
			return m, fmt.Errorf("%s: %w", c.Metadata, err)
		}
		return m, nil
	}
	m = smdp.Metadata{ServiceProvider: c.Provider, Name: c.Name, Class: c.Class, PPRs: c.PPR, Access: c.Access}
	if m.Name == "" {
		m.Name = c.ID
	}
	if c.Owner != "" {
		m.Owner = &smdp.Owner{PLMN: c.Owner, GID1: c.GID1, GID2: c.GID2}
	}
	if c.Icon != "" {
		var err error
		if m.Icon, err = os.ReadFile(c.Icon); err != nil {
			return m, err
		}
	}
	// Events for one address go into one request to the eUICC.
	for _, n := range c.Notify {
		name, address, _ := strings.Cut(n, "@")
		found := false
		for i := range m.Notifications {
			if m.Notifications[i].Address == address {
				m.Notifications[i].Events = append(m.Notifications[i].Events, name)
				found = true
			}
		}
		if !found {
			m.Notifications = append(m.Notifications, smdp.Notification{Events: []string{name}, Address: address})
		}
	}
	return m, nil
}

type stockImportCommand struct {
	dataFlags
	File     string `arg:"" type:"existingfile" help:"CSV file; its first line names the columns, separated by commas or semicolons."`
	Type     string `help:"Profile type of lines that name none."`
	Operator string `help:"Operator whose stock it is; anybody's when empty."`
}

// Help is shown by --help.
func (stockImportCommand) Help() string {
	var b strings.Builder
	b.WriteString("Columns:\n")
	for _, c := range smdp.CSVColumns {
		fmt.Fprintf(&b, "\n    %-8s %s", c.Name, c.Meaning)
	}
	return b.String()
}

func (c stockImportCommand) Run(ctx context.Context) error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	checked := newMeter("checking", 0)
	var stored *meter
	lines := 0
	n, err := s.ImportCSV(ctx, file, smdp.ImportOptions{
		Type: c.Type, Owner: c.Operator, Source: filepath.Base(c.File),
		Checked: func(n int) { lines = n; checked.at(n) },
		Stored: func(n int) {
			if stored == nil {
				checked.end()
				stored = newMeter("storing ", lines)
			}
			stored.at(n)
		},
	})
	if stored != nil {
		checked = stored
	}
	checked.end()
	if bad, ok := errors.AsType[*smdp.LoadError](err); ok {
		fmt.Fprintln(os.Stderr, bad)
		return fmt.Errorf("nothing of %s was taken into stock", c.File)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d profiles are in stock now (%.1f s)\n", n, time.Since(began).Seconds())
	return nil
}

type stockGenerateCommand struct {
	dataFlags
	Type     string     `required:"" help:"Profile type."`
	ICCID    string     `name:"iccid" required:"" help:"First number without its check digit; fewer than 18 digits are filled up with zeros."`
	IMSI     ident.IMSI `name:"imsi" required:"" help:"First number."`
	Count    int        `required:"" help:"How many."`
	MSISDN   string     `name:"msisdn" help:"First telephone number."`
	TUAK     bool       `name:"tuak" help:"TUAK in place of Milenage."`
	SPN      string     `name:"spn" help:"Service provider name in the SIM."`
	Operator string     `help:"Operator whose stock it is; anybody's when empty."`
}

func (c stockGenerateCommand) Run(ctx context.Context) error {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	m := newMeter("storing", c.Count)
	n, err := s.Generate(ctx, smdp.Range{
		Type: c.Type, Owner: c.Operator, ICCID: c.ICCID, IMSI: c.IMSI, MSISDN: c.MSISDN, Count: c.Count, TUAK: c.TUAK, SPN: c.SPN,
	}, m.at)
	m.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d profiles are in stock now (%.1f s)\n", n, time.Since(began).Seconds())
	return nil
}

type stockListCommand struct {
	dataFlags
	State string      `help:"Only those in this state: available, allocated, linked, confirmed, released, downloaded, installed, error, unavailable."`
	Type  string      `help:"Only those of this profile type."`
	EID   ident.EID   `name:"eid" help:"Only those for this eUICC."`
	After ident.ICCID `help:"Begin after this ICCID."`
	Limit int         `default:"100" help:"How many at most."`
	JSON  bool        `name:"json" help:"Print JSON."`
}

// Validate refuses a state that there is none of.
func (c stockListCommand) Validate() error {
	if c.State != "" && !slices.Contains(smdp.States, smdp.State(c.State)) {
		return fmt.Errorf("--state: one of %v, not %q", smdp.States, c.State)
	}
	return nil
}

func (c stockListCommand) Run(ctx context.Context) error {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	list, err := s.Profiles(ctx, smdp.Filter{State: smdp.State(c.State), Type: c.Type, EID: c.EID, After: c.After, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	for _, p := range list {
		fmt.Fprintf(stdout, "%-20s  %-11s  %-16s  %-15s  %s\n", p.ICCID, p.State, p.Type, p.IMSI, strings.TrimSpace(string(p.EID)+" "+p.MatchingID))
	}
	return nil
}

type stockCountCommand struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c stockCountCommand) Run(ctx context.Context) error {
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	list, err := s.Count(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(list)
	}
	for _, n := range list {
		fmt.Fprintf(stdout, "%-24s %-12s %9d\n", n.Type, n.State, n.Count)
	}
	return nil
}

type stockShowCommand struct {
	dataFlags
	ICCID   string `arg:"" help:"ICCID of the profile."`
	Secrets bool   `help:"Also the keys and codes, in the clear."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

func (c stockShowCommand) Run(ctx context.Context) error {
	iccid, err := ident.ParseICCID(c.ICCID)
	if err != nil {
		return err
	}
	s, done, err := c.openStock(ctx)
	if err != nil {
		return err
	}
	defer done()
	info, ok, err := s.Profile(ctx, iccid)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("no profile has ICCID %s", iccid)
	}
	shown := map[string]any{"profile": info}
	lines := profileLines(info)
	if info.State == smdp.Released && info.MatchingID != "" {
		code := rsp.ActivationCode{Address: s.Address(), MatchingID: ident.MatchingID(info.MatchingID), CodeRequired: info.CodeRequired}
		shown["activation_code"] = code.QR()
		lines = append(lines, [2]string{"activation code", code.QR()})
	}
	if c.Secrets {
		p, err := s.Personal(ctx, iccid)
		if err != nil {
			return err
		}
		secrets := map[string]string{}
		for _, one := range [][2]string{
			{"k", hex.EncodeToString(p.K)},
			{"opc", hex.EncodeToString(p.OPc)},
			{"pin1", p.PIN1},
			{"puk1", p.PUK1},
			{"pin2", p.PIN2},
			{"puk2", p.PUK2},
			{"adm1", p.ADM1},
			{"adm2", p.ADM2},
		} {
			secrets[one[0]] = one[1]
			lines = append(lines, one)
		}
		shown["secrets"] = secrets
	}
	if c.JSON {
		return printJSON(shown)
	}
	for _, one := range lines {
		if one[1] != "" {
			fmt.Fprintf(stdout, "%-18s  %s\n", one[0], one[1])
		}
	}
	return nil
}

// profileLines are a profile's names and values for people; what is empty is not
// shown.
func profileLines(p smdp.ProfileInfo) [][2]string {
	lines := [][2]string{
		{"ICCID", string(p.ICCID)},
		{"IMSI", string(p.IMSI)},
		{"state", string(p.State)},
		{"type", p.Type},
		{"owner", p.Owner},
		{"operator", p.Operator},
		{"MSISDN", p.MSISDN},
		{"EID", string(p.EID)},
		{"matching ID", p.MatchingID},
		{"SM-DS", p.SMDSAddress},
		{"failure", p.Failure},
	}
	if p.CodeRequired {
		lines = append(lines, [2]string{"confirmation code", "required"})
	}
	for _, n := range []struct {
		name  string
		tried int
	}{{"download attempts", p.DownloadAttempts}, {"code attempts", p.CodeAttempts}} {
		if n.tried > 0 {
			lines = append(lines, [2]string{n.name, strconv.Itoa(n.tried)})
		}
	}
	for _, at := range []struct {
		name string
		time *time.Time
	}{{"ordered", p.Ordered}, {"expires", p.Expires}, {"updated", p.Updated}} {
		if at.time != nil {
			lines = append(lines, [2]string{at.name, at.time.UTC().Format(time.RFC3339)})
		}
	}
	return lines
}
