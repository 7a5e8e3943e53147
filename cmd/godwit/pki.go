package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"godwit/ident"
	"godwit/pki"
	"godwit/trust"
)

// pkiCommand looks after what the server stands for. A running server reads its
// sets at its start only: restart it after a change.
type pkiCommand struct {
	Init   pkiInitCommand   `cmd:"" help:"Make a private test CI on each curve, with a server's certificates under it."`
	Import pkiImportCommand `cmd:"" help:"Make a set of certificates and keys from elsewhere, by what is in the files, whatever their names."`
	Show   pkiShowCommand   `cmd:"" help:"Show the sets: CIs, certificates, how long they last."`
	Issue  pkiIssueCommand  `cmd:"" help:"Issue certificates under a CI whose private key is here."`
	Block  pkiBlockCommand  `cmd:"" help:"Have certificates refused: by a CI's revocation list, or by a CI of our own."`
}

// pkiFlags are the flags of all of them.
type pkiFlags struct {
	Data string `help:"Data directory." default:"godwit-data" type:"path" placeholder:"DIR"`
}

func (f pkiFlags) folder() string { return dataFlags{Data: f.Data}.pkiDir() }

// load reads one set.
func (f pkiFlags) load(name string) (*trust.Set, error) { return trust.Load(f.folder(), name) }

type pkiInitCommand struct {
	pkiFlags
	Set  string   `help:"Name of the set." default:"test" placeholder:"NAME"`
	Host []string `help:"DNS name or IP address in the TLS certificates; repeat it for several." default:"localhost,127.0.0.1" placeholder:"HOST"`
}

func (c pkiInitCommand) Run() error {
	set, err := trust.NewTest(c.Set, c.Host, time.Now())
	if err != nil {
		return err
	}
	if err := set.Save(c.folder(), false); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "made set %s in %s\n", set.Name, filepath.Join(c.folder(), set.Name))
	return printSets(stdout, []*trust.Set{set}, time.Now())
}

type pkiImportCommand struct {
	pkiFlags
	From       []string  `arg:"" type:"existingpath" help:"Files and folders, PEM or DER: CI, DPauth and DPpb certificates, the keys of the latter; TLS, EUM, SM-DS and revocation lists where there are any."`
	Set        string    `required:"" help:"Name of the set." placeholder:"NAME"`
	Production bool      `help:"These are production certificates. Without it the set is test trust; the two never share a port."`
	OID        ident.OID `name:"oid" help:"Registered ID of the SM-DP+, where the files are of several." placeholder:"OID"`
	Replace    bool      `help:"Replace the set of that name."`
	DryRun     bool      `help:"Only say what would be used."`
}

func (c pkiImportCommand) Run() error {
	if c.OID != "" {
		if _, err := ident.ParseOID(string(c.OID)); err != nil {
			return err
		}
	}
	now := time.Now()
	i := trust.Import{Name: c.Set, Kind: trust.Test, OID: c.OID, Now: now}
	if c.Production {
		i.Kind = trust.Production
	}
	set, findings, err := i.Read(c.From...)
	for _, f := range findings {
		if f.Used {
			fmt.Fprintf(stdout, "used      %s: %s\n", f.File, f.What)
			continue
		}
		fmt.Fprintf(stdout, "not used  %s: %s: %s\n", f.File, f.What, f.Why)
	}
	if err != nil {
		return err
	}
	for _, m := range set.Members {
		// Served all the same in a test bench; a server refuses it at its start.
		if err := m.Identity.Verify(now); err != nil {
			fmt.Fprintf(stdout, "beware    CI %s: %v\n", m.Name, err)
		}
	}
	if c.DryRun {
		return nil
	}
	if err := set.Save(c.folder(), c.Replace); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "made set %s in %s; serve it with --rsp-listen HOST:PORT=%s\n", set.Name, filepath.Join(c.folder(), set.Name), set.Name)
	return printSets(stdout, []*trust.Set{set}, now)
}

type pkiIssueCommand struct {
	TLS      pkiIssueTLSCommand      `cmd:"" name:"tls" help:"New TLS certificates for the server, for other hosts or another three years."`
	Operator pkiIssueOperatorCommand `cmd:"" help:"A client certificate for an operator's system (ES2+)."`
	EUICC    pkiIssueEUICCCommand    `cmd:"" name:"euicc" help:"Certificates for an eUICC under each CI, for simulators."`
}

type pkiIssueTLSCommand struct {
	pkiFlags
	Set  string   `help:"Name of the set." default:"test" placeholder:"NAME"`
	Host []string `arg:"" help:"DNS names or IP addresses."`
}

func (c pkiIssueTLSCommand) Run() error {
	set, err := c.load(c.Set)
	if err != nil {
		return err
	}
	if err := set.RenewTLS(c.Host, time.Now()); err != nil {
		return err
	}
	if err := set.Save(c.folder(), true); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "a running server takes them at its next start")
	return printSets(stdout, []*trust.Set{set}, time.Now())
}

type pkiIssueOperatorCommand struct {
	pkiFlags
	Set  string `help:"Name of the set." default:"test" placeholder:"NAME"`
	CI   string `name:"ci" help:"Which CI of the set." default:"nist" placeholder:"NAME"`
	Out  string `help:"Where to write it: BASE.pem and BASE.key." default:"operator" type:"path" placeholder:"BASE"`
	Name string `arg:"" help:"Common name: the operator's."`
}

func (c pkiIssueOperatorCommand) Run() error {
	set, err := c.load(c.Set)
	if err != nil {
		return err
	}
	m, ok := set.Member(c.CI)
	if !ok || m.Issuer == nil {
		return fmt.Errorf("set %s has no CI %s with its private key", c.Set, c.CI)
	}
	req := pki.Request{Role: pki.Operator, NotBefore: backdated(), Subject: pki.Subject{CommonName: c.Name}}
	if strings.Contains(c.Name, ".") { // a host name is looked for among the alternative names too
		req.Hosts = []string{c.Name}
	}
	credential, err := m.Issuer.Issue(req)
	if err != nil {
		return err
	}
	if err := writeCredential(c.Out, credential); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "wrote %[1]s.pem and %[1]s.key; make it known with `godwit operator add --certificate %[1]s.pem …`\n", c.Out)
	return nil
}

type pkiIssueEUICCCommand struct {
	pkiFlags
	Set string `help:"Name of the set." default:"test" placeholder:"NAME"`
	Out string `help:"Folder to write to." default:"." type:"path" placeholder:"DIR"`
	EID string `arg:"" name:"eid" help:"EID, 32 digits."`
}

func (c pkiIssueEUICCCommand) Run() error {
	eid, err := ident.ParseEID(c.EID)
	if err != nil {
		return err
	}
	set, err := c.load(c.Set)
	if err != nil {
		return err
	}
	issued := 0
	for _, m := range set.Members {
		if m.EUM == nil {
			continue
		}
		credential, err := m.EUM.Issue(pki.Request{Role: pki.EUICC, EID: eid, NotBefore: backdated()})
		if err != nil {
			return err
		}
		dir := filepath.Join(c.Out, m.Name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := writeCredential(filepath.Join(dir, "euicc"), credential); err != nil {
			return err
		}
		for name, content := range map[string][]byte{"eum.pem": m.EUM.Certificate.PEM(), "ci.pem": m.Identity.CI.PEM()} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
				return err
			}
		}
		fmt.Fprintln(stdout, "wrote", dir)
		issued++
	}
	if issued == 0 {
		return fmt.Errorf("set %s has no EUM with its private key", c.Set)
	}
	return nil
}

// backdated is when new certificates begin: clocks of lab machines differ.
func backdated() time.Time { return time.Now().Add(-time.Hour).Truncate(time.Second) }

// writeCredential writes base.pem and base.key, and never over what is there.
func writeCredential(base string, c *pki.Credential) error {
	key, err := pki.MarshalKey(c.Key)
	if err != nil {
		return err
	}
	if err := writeNew(base+".key", key, 0o600); err != nil {
		return err
	}
	return writeNew(base+".pem", c.Certificate.PEM(), 0o644)
}

func writeNew(name string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: take it away, or name another place with --out", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

type pkiBlockCommand struct {
	pkiFlags
	Set  string   `help:"Name of the set." default:"test" placeholder:"NAME"`
	File []string `arg:"" type:"existingfile" help:"Revocation lists of a CI of the set, or certificates that a CI of our own issued; PEM or DER."`
}

func (c pkiBlockCommand) Run() error {
	set, err := c.load(c.Set)
	if err != nil {
		return err
	}
	for _, name := range c.File {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if certificates, err := pki.ParseCertificates(content); err == nil {
			for _, certificate := range certificates {
				m, err := set.Block(certificate, time.Now())
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				fmt.Fprintf(stdout, "CI %s has revoked %s\n", m.Name, certificate.Subject)
			}
			continue
		}
		m, list, err := set.AddCRL(content)
		if err != nil {
			return fmt.Errorf("%s is neither a certificate nor a revocation list of this set: %w", name, err)
		}
		fmt.Fprintf(stdout, "took the list of CI %s of %s with %d certificates\n", m.Name, list.ThisUpdate.Format(time.DateOnly), list.Len())
	}
	if err := set.Save(c.folder(), true); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "a running server refuses them from its next start")
	return nil
}

type pkiShowCommand struct {
	pkiFlags
	Set  string `arg:"" optional:"" help:"Name of a set; without it, all of them."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (c pkiShowCommand) Run() error {
	var sets []*trust.Set
	if c.Set != "" {
		set, err := c.load(c.Set)
		if err != nil {
			return err
		}
		sets = append(sets, set)
	} else {
		var err error
		if sets, err = trust.List(c.folder()); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there are no sets in %s: make one with `godwit pki init` or `godwit pki import`", c.folder())
		} else if err != nil {
			return err
		}
	}
	if c.JSON {
		views := []setView{}
		for _, set := range sets {
			view, err := viewSet(set, time.Now())
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		return json.NewEncoder(stdout).Encode(views)
	}
	return printSets(stdout, sets, time.Now())
}

// setView is a set as it is shown.
type setView struct {
	Name string     `json:"name"`
	Kind trust.Kind `json:"kind"`
	CIs  []ciView   `json:"cis"`
}

type ciView struct {
	Name         string            `json:"name"`
	ID           string            `json:"id"`
	Curve        string            `json:"curve"`
	Revoked      int               `json:"revoked"`
	Certificates []certificateView `json:"certificates"`
}

type certificateView struct {
	Role      string    `json:"role"`
	Subject   string    `json:"subject"`
	OID       ident.OID `json:"oid,omitempty"`
	Hosts     []string  `json:"hosts,omitempty"`
	EIDs      string    `json:"eid_prefix,omitempty"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Key       bool      `json:"key"` // its private key is here
	State     string    `json:"state"`
}

func viewSet(set *trust.Set, now time.Time) (setView, error) {
	view := setView{Name: set.Name, Kind: set.Kind}
	for _, m := range set.Members {
		ci := ciView{Name: m.Name, ID: fmt.Sprintf("%X", m.Identity.ID()), Curve: m.Identity.CI.PublicKey.Curve().String()}
		list, err := m.ReadCRL()
		if err != nil {
			return view, fmt.Errorf("set %s, CI %s: %w", set.Name, m.Name, err)
		}
		if list != nil {
			ci.Revoked = list.Len()
		}
		add := func(c *pki.Certificate, key bool) {
			ci.Certificates = append(ci.Certificates, viewCertificate(c, key, list, now))
		}
		add(m.Identity.CI, m.Issuer != nil)
		for _, former := range m.Former {
			add(former, m.Issuer != nil)
		}
		for _, c := range m.Credentials() {
			add(c.Certificate, true)
		}
		if m.EUM != nil {
			add(m.EUM.Certificate, true)
		}
		view.CIs = append(view.CIs, ci)
	}
	return view, nil
}

// soon is how long before its end a certificate is worth a word.
const soon = 60 * 24 * time.Hour

func viewCertificate(c *pki.Certificate, key bool, revoked *pki.RevocationList, now time.Time) certificateView {
	v := certificateView{
		Role: c.Role().String(), Subject: c.Subject.String(), OID: c.RegisteredID, Hosts: hostsOf(c),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Key: key, State: "good",
	}
	for _, n := range c.PermittedNames {
		v.EIDs = n.SerialNumber
	}
	left := c.NotAfter.Sub(now)
	switch {
	case now.Before(c.NotBefore):
		v.State = "not yet valid"
	case left < 0:
		v.State = "expired"
	case left < soon:
		v.State = fmt.Sprintf("expires in %d days", int(left.Hours()/24))
	}
	if revoked != nil {
		if _, ok := revoked.Revoked(c); ok {
			v.State = "revoked"
		}
	}
	return v
}

// hostsOf returns the names and addresses that a TLS certificate is for.
func hostsOf(c *pki.Certificate) []string {
	hosts := slices.Clone(c.DNSNames)
	for _, address := range c.IPAddresses {
		hosts = append(hosts, address.String())
	}
	return hosts
}

// printSets shows sets to people.
func printSets(out io.Writer, sets []*trust.Set, now time.Time) error {
	for _, set := range sets {
		view, err := viewSet(set, now)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "set %s (%s trust)\n", view.Name, view.Kind)
		for _, ci := range view.CIs {
			fmt.Fprintf(out, "  CI %s  %s  %s", ci.Name, ci.ID, ci.Curve)
			if ci.Revoked > 0 {
				fmt.Fprintf(out, "  %d revoked", ci.Revoked)
			}
			fmt.Fprintln(out)
			for _, c := range ci.Certificates {
				key := "key here"
				if !c.Key {
					key = ""
				}
				fmt.Fprintf(out, "    %-10s  until %s  %-8s  %s\n", c.Role, c.NotAfter.Format(time.DateOnly), key, c.details())
			}
		}
	}
	return nil
}

// details are what tells one certificate from another.
func (c certificateView) details() string {
	parts := []string{c.Subject}
	if c.OID != "" {
		parts = append(parts, "OID "+string(c.OID))
	}
	if len(c.Hosts) > 0 {
		parts = append(parts, "for "+strings.Join(c.Hosts, ", "))
	}
	if c.EIDs != "" {
		parts = append(parts, "EIDs "+c.EIDs+"…")
	}
	if c.State != "good" {
		parts = append(parts, strings.ToUpper(c.State))
	}
	return strings.Join(parts, "; ")
}
