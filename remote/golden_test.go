package remote_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"godwit/db"
	"godwit/device"
	"godwit/ident"
	"godwit/internal/letter"
)

// TestLetters plays the exchanges in testdata, as package letter has it, with
// the credentials of admin. Parts of this suite:
//
//	-- outcome STAGE [REASON] [ICCID] --  what the eIM says of the last task
//	-- report EID --                      profiles of an eSIM, one JSON object to a line
func TestLetters(t *testing.T) {
	letter.Play(t, func(t *testing.T, d *db.DB) *letter.Reader {
		w := newWorld(t, d, nil)
		r := &letter.Reader{
			T: t, URL: w.server.URL, Words: map[string]string{"customer": strconv.FormatInt(w.customer, 10), "account": w.account.SID},
			Sign: func(q *http.Request, body string) {
				q.SetBasicAuth("admin", w.password)
				if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
					q.Header.Set("Content-Type", "application/json")
				}
			},
		}
		r.Part = func(title []string, body string) bool {
			switch title[0] {
			case "outcome":
				o := device.Outcome{Stage: device.Stage(title[1])}
				if len(title) > 2 {
					o.Reason = title[2]
				}
				if len(title) > 3 {
					o.ICCID = ident.ICCID(title[3])
				}
				w.outcome(t, o)
			case "report":
				w.report(t, title[1], body)
			default:
				return false
			}
			return true
		}
		return r
	})
}
