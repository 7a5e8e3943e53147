package kore_test

import (
	"net/http"
	"strings"
	"testing"

	"godwit/account"
	"godwit/db"
	"godwit/internal/letter"
)

// TestLetters plays the exchanges in testdata, as package letter has it. The
// requests carry an access token of the account, and a body that begins with a
// brace is JSON. <client> and <secret> are those of the API client that asked
// for the token, <account> is the account's name here and <sid> its SID.
func TestLetters(t *testing.T) {
	var documents []*letter.Document
	for _, name := range []string{"kore_token_api_v1.json", "kore_client_v1.json", "kore-iam-v1.json", "kore-webhook-v1.json"} {
		documents = append(documents, letter.OpenDocument(t, name))
	}
	letter.Play(t, func(t *testing.T, d *db.DB) *letter.Reader {
		h := newHouse(t, d)
		bearer := h.bearer(h.id, h.secret)
		return &letter.Reader{
			T: t, URL: h.server.URL, Documents: documents,
			Words: map[string]string{
				"client": h.id, "secret": h.secret, "account": account.KoreID(h.main.SID), "sid": h.main.SID,
				"host": strings.TrimPrefix(h.server.URL, "http://"),
			},
			Sign: func(q *http.Request, body string) {
				q.Header.Set("Authorization", bearer)
				switch {
				case strings.HasPrefix(body, "{"):
					q.Header.Set("Content-Type", "application/json")
				case body != "":
					q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
			},
		}
	})
}
