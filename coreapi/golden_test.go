package coreapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"godwit/account"
	"godwit/coreapi"
	"godwit/db"
	"godwit/event"
	"godwit/internal/letter"
)

// TestLetters plays the exchanges in testdata, as package letter has it, with
// the credentials of <account>.
func TestLetters(t *testing.T) {
	document := letter.OpenDocument(t, "twilio_api_v2010.json")
	letter.Play(t, func(t *testing.T, d *db.DB) *letter.Reader {
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
		t.Cleanup(server.Close)
		return &letter.Reader{
			T: t, URL: server.URL, Documents: []*letter.Document{document},
			Words: map[string]string{"account": own.SID, "token": token},
			Sign: func(q *http.Request, body string) {
				q.SetBasicAuth(own.SID, token)
				if body != "" {
					q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
			},
		}
	})
}
