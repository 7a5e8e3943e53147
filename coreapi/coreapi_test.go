package coreapi_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	twilio "github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	vendor "github.com/twilio/twilio-go/rest/api/v2010"

	"godwit/account"
	"godwit/coreapi"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
)

// redirect sends the client's requests to a test server.
type redirect struct{ to *url.URL }

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host = r.to.Scheme, r.to.Host
	return http.DefaultTransport.RoundTrip(req)
}

// The vendor's own client makes, suspends and lists subaccounts and keys.
func TestVendorsClient(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		accounts := account.New(d, event.New(d))
		var own account.Account
		var token string
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			own, token, err = accounts.Create(t.Context(), tx, "", "main")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(coreapi.New(coreapi.Options{DB: d, Accounts: accounts}))
		defer server.Close()
		at, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		as := func(user, password string) *vendor.ApiService {
			base := &client.Client{Credentials: client.NewCredentials(user, password), HTTPClient: &http.Client{Transport: redirect{at}}}
			base.SetAccountSid(own.SID)
			return twilio.NewRestClientWithParams(twilio.ClientParams{Client: base}).Api
		}
		refused := func(err error, status int) {
			t.Helper()
			e, ok := errors.AsType[*client.TwilioRestError](err)
			if !ok || e.Status != status {
				t.Errorf("error %v, want status %d", err, status)
			}
		}
		api := as(own.SID, token)
		sub, err := api.CreateAccount((&vendor.CreateAccountParams{}).SetFriendlyName("sub"))
		if err != nil {
			t.Fatal(err)
		}
		child := as(*sub.Sid, *sub.AuthToken)
		key, err := api.CreateNewKey((&vendor.CreateNewKeyParams{}).SetPathAccountSid(*sub.Sid).SetFriendlyName("ci"))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := accounts.Verify(t.Context(), *key.Sid, *key.Secret); err != nil || c.Account != *sub.Sid {
			t.Errorf("the key proves %+v, %v", c, err)
		}
		if list, err := child.ListKey(&vendor.ListKeyParams{PathAccountSid: sub.Sid}); err != nil || len(list) != 1 || *list[0].FriendlyName != "ci" {
			t.Errorf("keys %v, %v", list, err)
		}
		if got, err := api.UpdateKey(*key.Sid, (&vendor.UpdateKeyParams{}).SetPathAccountSid(*sub.Sid).SetFriendlyName("build")); err != nil || *got.FriendlyName != "build" {
			t.Errorf("renamed: %v, %v", got, err)
		}
		_, err = api.UpdateKey(*key.Sid, (&vendor.UpdateKeyParams{}).SetPathAccountSid(own.SID).SetFriendlyName("x"))
		refused(err, 404)
		if list, err := api.ListAccount((&vendor.ListAccountParams{}).SetPageSize(1)); err != nil || len(list) != 2 {
			t.Errorf("accounts %v, %v", list, err)
		}
		_, err = child.FetchAccount(own.SID)
		refused(err, 404)
		_, err = child.CreateAccount(nil)
		refused(err, 409)
		_, err = as(*key.Sid, *key.Secret).FetchAccount(*sub.Sid)
		refused(err, 403)
		_, err = api.UpdateAccount(own.SID, (&vendor.UpdateAccountParams{}).SetStatus("suspended"))
		refused(err, 403)

		if got, err := api.UpdateAccount(*sub.Sid, (&vendor.UpdateAccountParams{}).SetStatus("suspended").SetFriendlyName("late")); err != nil || *got.Status != "suspended" || *got.FriendlyName != "late" {
			t.Errorf("suspended: %v, %v", got, err)
		}
		_, err = child.FetchAccount(*sub.Sid)
		refused(err, 401)
		if _, err := accounts.Verify(t.Context(), *key.Sid, *key.Secret); err == nil {
			t.Error("the key of a suspended account is taken")
		}
		if _, err := api.UpdateAccount(*sub.Sid, (&vendor.UpdateAccountParams{}).SetStatus("active")); err != nil {
			t.Fatal(err)
		}
		if err := child.DeleteKey(*key.Sid, &vendor.DeleteKeyParams{PathAccountSid: sub.Sid}); err != nil {
			t.Error(err)
		}
		_, err = child.FetchKey(*key.Sid, &vendor.FetchKeyParams{PathAccountSid: sub.Sid})
		refused(err, 404)
		if _, err := accounts.Verify(t.Context(), *key.Sid, *key.Secret); err == nil {
			t.Error("a deleted key is taken")
		}
	})
}
