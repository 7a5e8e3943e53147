package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"godwit/euicc"
	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
	"godwit/trust"
)

// euiccCommand makes software eUICCs and lets foreign assistants talk to them.
type euiccCommand struct {
	New   euiccNewCommand   `cmd:"" help:"Make a software eUICC."`
	Info  euiccInfoCommand  `cmd:"" help:"Show an eUICC: EID, CIs, memory."`
	List  euiccListCommand  `cmd:"" help:"List its profiles."`
	Exec  euiccExecCommand  `cmd:"" help:"Run a program that speaks lpac's stdio APDU driver, and answer it: godwit euicc exec --dir DIR -- lpac profile list"`
	Stdio euiccStdioCommand `cmd:"" name:"stdio" help:"Answer lpac's stdio APDU protocol: requests on standard input, answers on standard output, for an agent's --card exec:."`
	PCSC  euiccPCSCCommand  `cmd:"" name:"pcsc" help:"Put the eUICC into a virtual PC/SC reader (vsmartcard's vpcd)."`
}

type euiccFlags struct {
	Dir string `required:"" help:"Directory of the eUICC." type:"path" placeholder:"DIR"`
}

type euiccNewCommand struct {
	euiccFlags
	EID       string   `name:"eid" help:"32 digits, or the first 30 of them; without it one is made up." placeholder:"DIGITS"`
	Data      string   `help:"Data directory of the server whose test CIs the eUICC is made under." default:"godwit-data" type:"path" placeholder:"DIR"`
	Set       string   `help:"Set of certificates in it." default:"test" placeholder:"NAME"`
	PKI       string   `name:"pki" help:"Directory of a set, in place of --data and --set." type:"existingdir" placeholder:"DIR"`
	CI        []string `name:"ci" help:"CI certificates that servers are verified with, where no set is used." type:"existingfile" placeholder:"FILE"`
	EUM       []string `name:"eum" help:"Manufacturer's certificates, one for each CI that the eUICC signs under." type:"existingfile" placeholder:"FILE"`
	Cert      []string `name:"certificate" help:"The eUICC's certificates, in the order of --eum." type:"existingfile" placeholder:"FILE"`
	Key       []string `name:"key" help:"The keys of these certificates, in the same order." type:"existingfile" placeholder:"FILE"`
	DefaultDP string   `name:"default-smdp" help:"Default SM-DP+ address." placeholder:"HOST"`
	RootDS    string   `name:"root-smds" help:"Address of the root SM-DS." default:"lpa.ds.gsma.com" placeholder:"HOST"`
	Memory    int      `help:"Memory for profiles, in kilobytes." default:"512" placeholder:"KB"`
	ForbidPPR []int    `name:"forbid-ppr" help:"Policy rules that the eUICC takes from no profile: 1, 2." placeholder:"N"`
	NoTest    bool     `help:"Refuse profiles of class test."`
	IoT       bool     `name:"iot" help:"Make an eUICC of SGP.32, which takes its orders from eIMs."`
	Eim       []string `name:"eim" help:"Configuration of an eIM that an IoT eUICC is associated with (EimConfigurationData, DER or base64)." type:"existingfile" placeholder:"FILE"`
}

func (c euiccNewCommand) Run() error {
	config, err := c.material()
	if err != nil {
		return err
	}
	config.DefaultDP, config.RootDS, config.NoTestProfiles = c.DefaultDP, c.RootDS, c.NoTest
	if c.Memory < 16 || c.Memory > 1<<20 {
		return fmt.Errorf("--memory is 16 to %d kilobytes, not %d", 1<<20, c.Memory)
	}
	config.Memory = c.Memory << 10
	for _, n := range c.ForbidPPR {
		if n != 1 && n != 2 {
			return fmt.Errorf("--forbid-ppr is 1 or 2, not %d", n)
		}
		config.ForbiddenPPR |= rsp.PPR(1) << n
	}
	config.IoT = c.IoT
	for _, name := range c.Eim {
		eim, err := readEimConfiguration(name)
		if err != nil {
			return err
		}
		config.Eims = append(config.Eims, *eim)
	}
	card, err := euicc.New(c.Dir, config)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "made eUICC %s in %s\n", card.EID(), c.Dir)
	return card.Close()
}

// material collects what the chip is made of: from a set, or from single files.
func (c euiccNewCommand) material() (euicc.Config, error) {
	if len(c.CI)+len(c.EUM)+len(c.Cert)+len(c.Key) > 0 {
		return c.fromFiles()
	}
	folder, name := dataFlags{Data: c.Data}.pkiDir(), c.Set
	if c.PKI != "" {
		folder, name = filepath.Dir(filepath.Clean(c.PKI)), filepath.Base(c.PKI)
	}
	set, err := trust.Load(folder, name)
	if err != nil {
		return euicc.Config{}, fmt.Errorf("%w (run `godwit serve` once, or name certificates with --ci, --eum, --certificate and --key)", err)
	}
	eid, err := c.eid(set)
	if err != nil {
		return euicc.Config{}, err
	}
	return chipOf(set, eid)
}

// eid reads the wanted EID or makes one up that the set's manufacturer may
// certify.
func (c euiccNewCommand) eid(set *trust.Set) (ident.EID, error) {
	switch len(c.EID) {
	case 32:
		return ident.ParseEID(c.EID)
	case 30:
		return ident.NewEID(c.EID)
	case 0:
	default:
		return "", fmt.Errorf("an EID has 32 digits, or 30 to be completed; this has %d characters", len(c.EID))
	}
	prefix := trust.EIDPrefix
	for _, m := range set.Members {
		if m.EUM == nil {
			continue
		}
		for _, n := range m.EUM.Certificate.PermittedNames {
			if n.SerialNumber != "" && len(n.SerialNumber) < 30 {
				prefix = n.SerialNumber
			}
		}
	}
	size := 30 - len(prefix)
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(size)), nil)
	serial, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return "", err
	}
	return ident.NewEID(fmt.Sprintf("%s%0*d", prefix, size, serial))
}

// fromFiles reads single certificates and keys, as published test sets have them.
func (c euiccNewCommand) fromFiles() (euicc.Config, error) {
	var config euicc.Config
	if len(c.CI) == 0 || len(c.Cert) == 0 || len(c.EUM) != len(c.Cert) || len(c.Key) != len(c.Cert) {
		return config, errors.New("an eUICC needs --ci at least once, and --eum, --certificate and --key equally often")
	}
	for _, name := range c.CI {
		ci, err := readGSMACertificate(name)
		if err != nil {
			return config, err
		}
		config.Roots = append(config.Roots, ci)
	}
	for i := range c.Cert {
		eum, err := readGSMACertificate(c.EUM[i])
		if err != nil {
			return config, err
		}
		certificate, err := readGSMACertificate(c.Cert[i])
		if err != nil {
			return config, err
		}
		content, err := os.ReadFile(c.Key[i])
		if err != nil {
			return config, err
		}
		key, err := pki.ParseKey(content)
		if err != nil {
			return config, fmt.Errorf("%s: %w", c.Key[i], err)
		}
		config.Credentials = append(config.Credentials, euicc.Credential{EUM: eum, EUICC: certificate, Key: key})
	}
	eid, err := config.Credentials[0].EUICC.EID()
	if err != nil {
		return config, err
	}
	if c.EID != "" && c.EID != string(eid) {
		return config, fmt.Errorf("the certificate is that of eUICC %s, not of %s", eid, c.EID)
	}
	config.EID = eid
	return config, nil
}

func readGSMACertificate(name string) (*pki.Certificate, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	certificates, err := pki.ParseCertificates(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return certificates[0], nil
}

// readEimConfiguration reads what an eIM gives out for its association.
func readEimConfiguration(name string) (*iot.EimConfiguration, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	eim, err := iot.ReadEimConfiguration(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return eim, nil
}

type euiccInfoCommand struct {
	euiccFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c euiccInfoCommand) Run() error {
	card, err := euicc.Open(c.Dir)
	if err != nil {
		return err
	}
	defer card.Close()
	s := card.Status()
	if c.JSON {
		out := map[string]any{
			"eid": s.EID, "svn": s.SVN.String(), "verification_cis": ciNames(s.CIs), "signing_cis": ciNames(s.SigningCIs),
			"default_smdp": s.DefaultDP, "root_smds": s.RootDS, "memory": s.Memory, "free": s.Free,
			"profiles": s.Profiles, "notifications": s.Notifications, "iot": s.IoT,
		}
		if s.IoT {
			out["eims"], out["package_results"], out["fallback"] = eimsForJSON(s.Eims), s.Results, s.Fallback
		}
		return printJSON(out)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "EID\t%s\n", s.EID)
	fmt.Fprintf(w, "SGP.22\tv%s\n", s.SVN)
	fmt.Fprintf(w, "verifies under\t%s\n", strings.Join(ciNames(s.CIs), " "))
	fmt.Fprintf(w, "signs under\t%s\n", strings.Join(ciNames(s.SigningCIs), " "))
	fmt.Fprintf(w, "default SM-DP+\t%s\n", s.DefaultDP)
	fmt.Fprintf(w, "root SM-DS\t%s\n", s.RootDS)
	fmt.Fprintf(w, "memory\t%d of %d octets free\n", s.Free, s.Memory)
	fmt.Fprintf(w, "profiles\t%d\n", s.Profiles)
	fmt.Fprintf(w, "notifications\t%d\n", s.Notifications)
	if s.IoT {
		fmt.Fprintf(w, "package results\t%d\n", s.Results)
		fmt.Fprintf(w, "fallback profile\t%s\n", s.Fallback)
		for i := range s.Eims {
			fmt.Fprintf(w, "eIM\t%s\n", eimInWords(&s.Eims[i]))
		}
	}
	return w.Flush()
}

// eimInWords describes an association in a line.
func eimInWords(c *iot.EimConfiguration) string {
	words := []string{c.ID, fmt.Sprintf("counter %d", *c.Counter)}
	if c.FQDN != "" && c.FQDN != c.ID {
		words = append(words, "at "+c.FQDN)
	}
	if c.Token != nil {
		words = append(words, fmt.Sprintf("association token %d", *c.Token))
	}
	if key, err := c.Key(); err == nil && key != nil {
		words = append(words, fmt.Sprintf("%s key %X", key.Curve(), key.ID()))
	}
	return strings.Join(words, ", ")
}

func eimsForJSON(list []iot.EimConfiguration) []map[string]any {
	out := []map[string]any{}
	for i := range list {
		c := &list[i]
		m := map[string]any{"id": c.ID, "fqdn": c.FQDN, "counter": c.Counter, "association_token": c.Token}
		if key, err := c.Key(); err == nil && key != nil {
			m["key"] = fmt.Sprintf("%X", key.ID())
		}
		out = append(out, m)
	}
	return out
}

func ciNames(ids [][]byte) []string {
	out := []string{}
	for _, id := range ids {
		out = append(out, fmt.Sprintf("%X", id))
	}
	return out
}

type euiccListCommand struct {
	euiccFlags
	JSON bool `name:"json" help:"Print JSON."`
}

func (c euiccListCommand) Run() error {
	card, err := euicc.Open(c.Dir)
	if err != nil {
		return err
	}
	defer card.Close()
	profiles := card.Profiles()
	if c.JSON {
		list := []map[string]any{}
		for _, p := range profiles {
			list = append(list, map[string]any{
				"iccid": p.ICCID, "aid": fmt.Sprintf("%X", p.AID), "enabled": p.Enabled, "nickname": p.Nickname,
				"provider": p.Provider, "name": p.Name, "class": p.Class.String(), "memory": p.Memory,
			})
		}
		return printJSON(list)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ICCID\tSTATE\tCLASS\tPROVIDER\tNAME\tNICKNAME\tMEMORY")
	for _, p := range profiles {
		state := "disabled"
		if p.Enabled {
			state = "enabled"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", p.ICCID, state, p.Class, p.Provider, p.Name, p.Nickname, p.Memory)
	}
	return w.Flush()
}

type euiccExecCommand struct {
	euiccFlags
	Command []string `arg:"" passthrough:"" help:"Program with its arguments, after --."`
}

func (c euiccExecCommand) Run(ctx context.Context) error {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return errors.New("no program to run: put it after --")
	}
	card, err := euicc.Open(c.Dir)
	if err != nil {
		return err
	}
	defer card.Close()
	return runWithCard(ctx, card, command, os.Stdout, os.Stderr)
}

// runWithCard runs a program and answers it. The program's own exit code is the
// result.
func runWithCard(ctx context.Context, card *euicc.Card, command []string, stdout, stderr io.Writer) error {
	child := exec.CommandContext(ctx, command[0], command[1:]...)
	child.Cancel = func() error { return child.Process.Signal(os.Interrupt) }
	child.WaitDelay = 5 * time.Second
	child.Env = append(os.Environ(), "LPAC_APDU=stdio")
	child.Stderr = stderr
	answers, err := child.StdinPipe()
	if err != nil {
		return err
	}
	lines, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	served := card.ServeStdio(lines, answers, stdout)
	answers.Close()
	if served != nil {
		// Nobody listens to the program any more.
		_, _ = io.Copy(io.Discard, lines)
	}
	err = child.Wait()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok && exited.Exited() {
		return exitError(exited.ExitCode())
	}
	return errors.Join(served, err)
}

type euiccStdioCommand struct{ euiccFlags }

func (c euiccStdioCommand) Run() error {
	card, err := euicc.Open(c.Dir)
	if err != nil {
		return err
	}
	defer card.Close()
	return card.ServeStdio(os.Stdin, os.Stdout, os.Stderr)
}

type euiccPCSCCommand struct {
	euiccFlags
	Reader string `help:"Address of the virtual reader." default:"127.0.0.1:35963" placeholder:"HOST:PORT"`
}

func (c euiccPCSCCommand) Run(ctx context.Context) error {
	card, err := euicc.Open(c.Dir)
	if err != nil {
		return err
	}
	defer card.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.Reader)
	if err != nil {
		return fmt.Errorf("join the virtual reader (is pcscd with the vpcd driver running?): %w", err)
	}
	defer conn.Close()
	fmt.Fprintf(os.Stderr, "eUICC %s is in the reader at %s\n", card.EID(), c.Reader)
	return card.ServeVPCD(ctx, conn)
}
