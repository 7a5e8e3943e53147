package euicc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
)

// DefaultMemory is room for some thirty profiles of 12 kB.
const DefaultMemory = 512 << 10

// DefaultCapability is what the card can do, and what it can hold. The last is
// all of Java Card, EAP, BER-TLV files and GET IDENTITY: profiles in the field
// and the published test profiles ask for them, so the card takes their elements
// and keeps them, but it runs no applets, and conceals no identity itself (the
// phone does, with the keys in the files).
const DefaultCapability = rsp.USIM | rsp.ISIM | rsp.CSIM | rsp.AKAMilenage | rsp.AKATUAK128 | rsp.AKATUAK256 |
	rsp.USIMTestAlgorithm | rsp.EAP | rsp.JavaCard | rsp.MultipleUSIM | rsp.MultipleISIM | rsp.MultipleCSIM |
	rsp.BERTLVFiles | rsp.DFLink | rsp.GetIdentity | rsp.ProfileAX25519 | rsp.ProfileBP256

// DefaultRAT lets every operator set both policy rules, if the user agrees.
var DefaultRAT = []rsp.Rule{{
	PPRs:            rsp.PPR1 | rsp.PPR2,
	Operators:       []rsp.OperatorID{{PLMN: [3]byte{0xEE, 0xEE, 0xEE}}},
	ConsentRequired: true,
}}

// check completes a configuration and finds what cannot be a chip.
func (cfg *Config) check() error {
	if err := ident.EIDForm(string(cfg.EID)); err != nil {
		return err
	}
	if len(cfg.Credentials) == 0 || len(cfg.Roots) == 0 {
		return errors.New("an eUICC needs a certificate with its key, and the certificate of at least one CI")
	}
	for i, cred := range cfg.Credentials {
		if cred.EUM == nil || cred.EUICC == nil || cred.Key == nil {
			return fmt.Errorf("credential %d is incomplete: it is the EUM's certificate, the eUICC's and its key", i+1)
		}
		eid, err := cred.EUICC.EID()
		if err != nil {
			return err
		}
		if eid != cfg.EID {
			return fmt.Errorf("the certificate is that of eUICC %s, not of %s", eid, cfg.EID)
		}
		public, err := pki.PublicKeyOf(cred.Key)
		if err != nil {
			return err
		}
		if !bytes.Equal(public.Bytes(), cred.EUICC.PublicKey.Bytes()) {
			return fmt.Errorf("the key does not belong to the certificate of eUICC %s", eid)
		}
		if len(cred.EUM.AuthorityKeyID) == 0 {
			return errors.New("the EUM certificate does not name the key of its CI")
		}
	}
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.Capability == 0 {
		cfg.Capability = DefaultCapability
	}
	if cfg.RAT == nil {
		cfg.RAT = DefaultRAT
	}
	if cfg.SVN.IsZero() {
		cfg.SVN = rsp.Version{2, 5, 0}
	}
	if cfg.Firmware.IsZero() {
		cfg.Firmware = rsp.Version{1, 0, 0}
	}
	return cfg.checkEims()
}

// blank is the state of a chip that leaves the factory.
func (cfg *Config) blank() *state {
	s := &state{Version: stateVersion, DefaultDP: cfg.DefaultDP}
	for i := range cfg.Eims {
		s.associate(&cfg.Eims[i])
	}
	return s
}

// roots returns the CIs that servers are verified with, each card its own set:
// revocation lists belong to the card that loaded them.
func (cfg *Config) roots(crls [][]byte) (*pki.Roots, error) {
	roots, err := pki.NewRoots(cfg.Roots...)
	if err != nil {
		return nil, err
	}
	for _, crl := range crls {
		if _, err := roots.AddCRL(crl); err != nil {
			return nil, fmt.Errorf("read revocation list: %w", err)
		}
	}
	return roots, nil
}

// credential returns what the chip signs with under a CI.
func (cfg *Config) credential(ci []byte) *Credential {
	i := slices.IndexFunc(cfg.Credentials, func(c Credential) bool { return bytes.Equal(c.EUM.AuthorityKeyID, ci) })
	if i < 0 {
		return nil
	}
	return &cfg.Credentials[i]
}

// cardDescription is the content of card.json: the configuration but for keys.
type cardDescription struct {
	Version        int                `json:"version"`
	EID            ident.EID          `json:"eid"`
	Credentials    []credentialText   `json:"credentials"`
	Roots          [][]byte           `json:"roots"`
	DefaultDP      string             `json:"default_dp,omitempty"`
	RootDS         string             `json:"root_ds,omitempty"`
	Memory         int                `json:"memory"`
	Capability     rsp.UICCCapability `json:"capability"`
	NoTestProfiles bool               `json:"no_test_profiles,omitempty"`
	ForbiddenPPR   rsp.PPR            `json:"forbidden_ppr,omitempty"`
	RAT            []rsp.Rule         `json:"rat"`
	SVN            rsp.Version        `json:"svn"`
	Firmware       rsp.Version        `json:"firmware"`
	Terminal       bool               `json:"terminal,omitempty"`
	IoT            bool               `json:"iot,omitempty"`
}

type credentialText struct {
	EUM   []byte `json:"eum"`
	EUICC []byte `json:"euicc"`
	Key   string `json:"key"` // name of the file
}

type namedFile struct {
	name    string
	content []byte
}

// files returns the content of a new chip's directory in the order in which it
// is to be written.
func (cfg *Config) files() ([]namedFile, error) {
	d := cardDescription{
		Version: stateVersion, EID: cfg.EID, DefaultDP: cfg.DefaultDP, RootDS: cfg.RootDS, Memory: cfg.Memory,
		Capability: cfg.Capability, NoTestProfiles: cfg.NoTestProfiles, ForbiddenPPR: cfg.ForbiddenPPR, RAT: cfg.RAT,
		SVN: cfg.SVN, Firmware: cfg.Firmware, Terminal: cfg.Terminal, IoT: cfg.IoT,
	}
	var out []namedFile
	for i, cred := range cfg.Credentials {
		key, err := pki.MarshalKey(cred.Key)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("key-%d.pem", i+1)
		out = append(out, namedFile{name, key})
		d.Credentials = append(d.Credentials, credentialText{EUM: cred.EUM.Raw, EUICC: cred.EUICC.Raw, Key: name})
	}
	for _, ci := range cfg.Roots {
		d.Roots = append(d.Roots, ci.Raw)
	}
	blank, err := json.Marshal(cfg.blank())
	if err != nil {
		return nil, err
	}
	card, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, namedFile{stateFile, blank}, namedFile{cardFile, append(card, '\n')}), nil
}

// readConfig is the way back from files.
func readConfig(read func(name string) ([]byte, error)) (Config, error) {
	content, err := read(cardFile)
	if err != nil {
		return Config{}, err
	}
	var d cardDescription
	if err := json.Unmarshal(content, &d); err != nil {
		return Config{}, fmt.Errorf("read %s: %w", cardFile, err)
	}
	if d.Version < 1 || d.Version > stateVersion {
		return Config{}, fmt.Errorf("%s has version %d, this program knows versions up to %d", cardFile, d.Version, stateVersion)
	}
	cfg := Config{
		EID: d.EID, DefaultDP: d.DefaultDP, RootDS: d.RootDS, Memory: d.Memory, Capability: d.Capability,
		NoTestProfiles: d.NoTestProfiles, ForbiddenPPR: d.ForbiddenPPR, RAT: d.RAT, SVN: d.SVN, Firmware: d.Firmware,
		Terminal: d.Terminal, IoT: d.IoT,
	}
	for _, text := range d.Credentials {
		cred, err := text.read(read)
		if err != nil {
			return Config{}, fmt.Errorf("read %s: %w", cardFile, err)
		}
		cfg.Credentials = append(cfg.Credentials, cred)
	}
	for _, der := range d.Roots {
		ci, err := pki.ParseCertificate(der)
		if err != nil {
			return Config{}, fmt.Errorf("read %s: %w", cardFile, err)
		}
		cfg.Roots = append(cfg.Roots, ci)
	}
	return cfg, cfg.check()
}

func (t credentialText) read(read func(name string) ([]byte, error)) (Credential, error) {
	eum, err := pki.ParseCertificate(t.EUM)
	if err != nil {
		return Credential{}, err
	}
	euicc, err := pki.ParseCertificate(t.EUICC)
	if err != nil {
		return Credential{}, err
	}
	content, err := read(t.Key)
	if err != nil {
		return Credential{}, err
	}
	key, err := pki.ParseKey(content)
	if err != nil {
		return Credential{}, fmt.Errorf("%s: %w", t.Key, err)
	}
	return Credential{EUM: eum, EUICC: euicc, Key: key}, nil
}
