package callback

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"godwit/db"
)

// Sign makes the X-Twilio-Signature of a request: the base64 of an HMAC-SHA1,
// under the account's auth token, over the full URL as it is requested and,
// for a POST, the name and value of each form parameter in the order of the names.
//
// The parameters of a GET are in the URL, which is signed like any other; a
// receiver that drops the query before checking checks nothing.
func Sign(token db.Secret, requested string, form url.Values) string {
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var data strings.Builder
	data.WriteString(requested)
	for _, name := range names {
		data.WriteString(name)
		data.WriteString(form.Get(name))
	}
	mac := hmac.New(sha1.New, token)
	mac.Write([]byte(data.String()))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
