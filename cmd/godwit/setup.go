package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/pki"
	"godwit/saip"
	"godwit/smdp"
	"godwit/trust"
)

// Names of what a fresh data directory holds.
const (
	testSet       = "test"    // the private test CI
	defaultType   = "lte-5g"  // profile type of reservations
	minimalType   = "minimal" // the smallest USIM
	testOperator  = "Test operator"
	testRequester = "test-operator"
	testStock     = 10_000 // profiles of the default type
)

// Files of a data directory beside the database, the master key and the trust.
const (
	addressFile  = "addresses.json"
	operatorFile = "operator" // .pem and .key
)

// addresses are where a server is reached, kept for commands on the same
// machine.
type addresses struct {
	BaseURL     string `json:"base_url"`
	ES9URL      string `json:"es9_url"`
	SMDPAddress string `json:"smdp_address"`
	Set         string `json:"set"` // the trust at ES9URL
}

func (f dataFlags) saveAddresses(a addresses) error {
	content, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.Data, addressFile), append(content, '\n'), 0o644)
}

func (f dataFlags) addresses() (a addresses, err error) {
	content, err := os.ReadFile(filepath.Join(f.Data, addressFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, fmt.Errorf("no server has run in %s yet: start `godwit serve --data %s`", f.Data, f.Data)
	}
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(content, &a)
}

// create makes what is missing in a data directory before its database can be
// opened: the directory, the master key, and the private test CI if a port stands
// for it. It never touches what is there.
func (f dataFlags) create(hosts, sets []string) (fresh bool, key db.MasterKey, err error) {
	if err := os.MkdirAll(f.Data, 0o700); err != nil {
		return false, key, err
	}
	key, err = f.loadKey()
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(f.Data)
		if err != nil {
			return false, key, err
		}
		for _, e := range entries {
			if e.Name() == "godwit.db" {
				return false, key, fmt.Errorf("%s has a database and no master key: put %s back; without it the secrets in the database cannot be read", f.Data, masterKeyFile)
			}
		}
		fresh = true
		if key, err = db.CreateMasterKey(f.keyPath()); err != nil {
			return false, key, err
		}
	} else if err != nil {
		return false, key, err
	}
	if slices.Contains(sets, testSet) && !exists(filepath.Join(f.pkiDir(), testSet)) {
		set, err := trust.NewTest(testSet, hosts, time.Now())
		if err != nil {
			return false, key, err
		}
		if err := set.Save(f.pkiDir(), false); err != nil {
			return false, key, err
		}
	}
	return fresh, key, nil
}

// furnish puts into a fresh database what a new user needs to begin: an
// account with a network access profile, two profile types, stock of test
// profiles, and an operator for ES2+. Every step is skipped where it has been
// done, so that a start that was cut off is taken up again.
func (a *app) furnish(ctx context.Context, f dataFlags) error {
	accountSID, err := a.mainAccount(ctx)
	if err != nil {
		return err
	}
	if accountSID == "" {
		err := a.db.Write(ctx, func(tx *db.Tx) error {
			created, _, err := a.accounts.Create(ctx, tx, "", "Main account")
			accountSID = created.SID
			return err
		})
		if err != nil {
			return fmt.Errorf("make the main account: %w", err)
		}
	}
	if err := a.firstAccess(ctx, accountSID); err != nil {
		return err
	}
	if err := a.firstClient(ctx, accountSID); err != nil {
		return err
	}
	if err := a.firstUser(ctx, accountSID); err != nil {
		return err
	}
	if err := a.firstTypes(ctx); err != nil {
		return err
	}
	if err := a.firstOperator(ctx, f); err != nil {
		return err
	}
	types, err := a.smdp.Types(ctx)
	if err != nil {
		return err
	}
	// The type may be added while the server runs, so this hinders nothing yet.
	if !slices.ContainsFunc(types, func(t smdp.ProfileType) bool { return t.ID == a.settings.ProfileType }) {
		slog.Warn("there is no profile type of that name: reservations fail until `godwit stock add-type` makes it", "profile-type", a.settings.ProfileType)
	}
	return nil
}

// mainAccount returns the SID of the main account, "" when there is none yet.
func (a *app) mainAccount(ctx context.Context) (sid string, err error) {
	err = a.db.Read(ctx, func(q db.Query) error {
		sid, err = mainAccount(ctx, q, a.accounts)
		return err
	})
	return sid, err
}

func (a *app) firstTypes(ctx context.Context) error {
	types, err := a.smdp.Types(ctx)
	if err != nil || len(types) > 0 {
		return err
	}
	for _, t := range []smdp.ProfileType{
		{ID: defaultType, Name: "LTE and 5G, USIM and ISIM", Template: saip.FullUSIM().Bytes()},
		{ID: minimalType, Name: "Minimal USIM", Template: saip.MinimalUSIM().Bytes()},
	} {
		t.Protection = smdp.SessionKeys
		t.Metadata = smdp.Metadata{
			ServiceProvider: "Godwit", Name: "Godwit " + t.ID,
			Notifications: []smdp.Notification{{Events: []string{"install", "enable", "disable", "delete"}}},
		}
		if err := a.smdp.AddType(ctx, t); err != nil {
			return fmt.Errorf("add profile type %s: %w", t.ID, err)
		}
	}
	// ICCIDs of a test issuer, IMSIs of the test network.
	_, err = a.smdp.Generate(ctx, smdp.Range{
		Type: defaultType, ICCID: "8999701000000000000", IMSI: "001010000000000", Count: testStock, SPN: "Godwit",
	}, nil)
	return err
}

func (a *app) firstAccess(ctx context.Context, account string) error {
	page, err := a.sims.Accesses(ctx, account, firstPage)
	if err != nil || len(page.Items) > 0 {
		return err
	}
	_, err = a.sims.CreateAccess(ctx, account, "default", testNetworks(a.sims))
	return err
}

// firstClient makes the API client whose secret `credentials` prints. An
// installation that has clients of its own gets none.
func (a *app) firstClient(ctx context.Context, sid string) error {
	return a.db.Write(ctx, func(tx *db.Tx) error {
		_, count, err := a.accounts.Clients(ctx, tx, sid, 0, 1)
		if err != nil || count > 0 {
			return err
		}
		_, _, err = a.accounts.CreateClient(ctx, tx, account.Client{Account: sid, Name: "First client"}, true)
		return err
	})
}

// firstUser makes the administrator of the Remote Manager API whose password
// `credentials` prints. An installation that has users of its own gets none.
func (a *app) firstUser(ctx context.Context, sid string) error {
	there := func(q db.Query) (bool, error) {
		users, err := a.accounts.Users(ctx, q, sid)
		return len(users) > 0, err
	}
	var done bool
	err := a.db.Read(ctx, func(q db.Query) (err error) {
		done, err = there(q)
		return err
	})
	if err != nil || done {
		return err
	}
	password, err := account.NewPassword(ctx, "")
	if err != nil {
		return err
	}
	return a.db.Write(ctx, func(tx *db.Tx) error {
		if done, err := there(tx); err != nil || done {
			return err // another server of this database was faster
		}
		_, err := a.accounts.CreateUser(ctx, tx, account.User{Name: "admin", Account: sid, Role: account.Administrator}, password, true)
		if fault.Is(err, fault.Conflict) {
			return nil // another account has that name, so there is somebody who can make users
		}
		return err
	})
}

// testNetwork is the network of the test profiles: 3GPP's test PLMN.
var testNetwork = ident.PLMN{MCC: "001", MNC: "01"}

// firstOperator makes an operator for ES2+ with a client certificate of the
// private test CI.
func (a *app) firstOperator(ctx context.Context, f dataFlags) error {
	operators, err := a.smdp.Operators(ctx)
	if err != nil || len(operators) > 0 {
		return err
	}
	set, err := trust.Load(f.pkiDir(), testSet)
	if err != nil {
		return nil // an installation without test trust has no test operator
	}
	m, ok := set.Member(trust.NIST)
	if !ok || m.Issuer == nil {
		return nil
	}
	credential, err := m.Issuer.Issue(pki.Request{
		Role: pki.Operator, NotBefore: time.Now().Add(-time.Hour).Truncate(time.Second),
		Subject: pki.Subject{Organization: "Godwit", CommonName: testOperator},
	})
	if err != nil {
		return fmt.Errorf("issue the test operator's certificate: %w", err)
	}
	key, err := pki.MarshalKey(credential.Key)
	if err != nil {
		return err
	}
	base := filepath.Join(f.Data, operatorFile)
	if err := os.WriteFile(base+".pem", credential.Certificate.PEM(), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(base+".key", key, 0o600); err != nil {
		return err
	}
	certificate, err := x509.ParseCertificate(credential.Certificate.Raw)
	if err != nil {
		return err
	}
	_, err = a.smdp.AddOperator(ctx, smdp.Operator{
		Name: testOperator, Requester: testRequester, KeyPin: smdp.KeyPin(certificate), Types: []string{"*"},
	})
	return err
}

// hostOf returns the host of an SM-DP+ address, with or without a port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}
