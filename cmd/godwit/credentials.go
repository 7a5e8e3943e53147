package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"godwit/account"
	"godwit/db"
	"godwit/event"
	"godwit/sim"
	"godwit/trust"
)

// credentialsCommand prints what scripts need to talk to a server on this
// machine.
type credentialsCommand struct {
	dataFlags
}

// credentials is a contract: scripts read it.
type credentials struct {
	BaseURL             string `json:"base_url"`
	ES9URL              string `json:"es9_url"`
	SMDPAddress         string `json:"smdp_address"`
	CICertificate       string `json:"ci_certificate"` // path
	AccountSID          string `json:"account_sid"`
	AuthToken           string `json:"auth_token"`
	ClientID            string `json:"client_id"`
	ClientSecret        string `json:"client_secret"`
	RMUser              string `json:"rm_user"` // of the Remote Manager API
	RMPassword          string `json:"rm_password"`
	OperatorCertificate string `json:"operator_certificate,omitempty"` // path
	OperatorKey         string `json:"operator_key,omitempty"`         // path
}

func (c credentialsCommand) Run(ctx context.Context) error {
	found, err := c.credentials(ctx)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(found)
}

// credentials gathers them from the data directory.
func (f dataFlags) credentials(ctx context.Context) (*credentials, error) {
	d, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	at, err := f.addresses()
	if err != nil {
		return nil, err
	}
	set, err := trust.Load(f.pkiDir(), at.Set)
	if err != nil {
		return nil, err
	}
	accounts := account.New(d, event.New(d))
	out := &credentials{
		BaseURL: at.BaseURL, ES9URL: at.ES9URL, SMDPAddress: at.SMDPAddress,
		CICertificate: filepath.Join(f.pkiDir(), at.Set, set.Members[0].Name, "ci.pem"),
	}
	// An installation without test trust has no test operator.
	if base := filepath.Join(f.Data, operatorFile); exists(base + ".key") {
		out.OperatorCertificate, out.OperatorKey = base+".pem", base+".key"
	}
	err = d.Read(ctx, func(q db.Query) error {
		if out.AccountSID, err = mainAccount(ctx, q, accounts); err != nil {
			return err
		}
		token, err := accounts.Token(ctx, q, out.AccountSID)
		if err != nil {
			return err
		}
		id, secret, err := accounts.ClientSecret(ctx, q, out.AccountSID)
		if err != nil {
			return err
		}
		user, password, err := accounts.UserPassword(ctx, q, out.AccountSID)
		out.AuthToken, out.ClientID, out.ClientSecret, out.RMUser, out.RMPassword = string(token), id, string(secret), user, string(password)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the main account: %w", err)
	}
	return out, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// mainAccount returns the SID of the first account, "" when there is none.
func mainAccount(ctx context.Context, q db.Query, accounts *account.Store) (string, error) {
	list, err := accounts.List(ctx, q, "", account.Account{}, 1)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].SID, nil
}

// firstPage asks for one item: whether there is any.
var firstPage = sim.Page{Limit: 1}

// testNetworks returns the networks of the catalogue that test profiles belong
// to.
func testNetworks(s *sim.Store) []string {
	var sids []string
	for _, plmn := range [][2]string{{"001", "01"}, {"999", "70"}} {
		found := s.Catalogue.Networks(sim.NetworkFilter{MCC: plmn[0], MNC: plmn[1]}, sim.Page{Limit: 10})
		for _, n := range found.Items {
			sids = append(sids, n.SID)
		}
	}
	return sids
}
