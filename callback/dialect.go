package callback

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"godwit/db"
)

// A Dialect is whose callbacks an account gets: the parameters are the same,
// the headers differ.
type Dialect string

const (
	Twilio Dialect = "twilio"
	KORE   Dialect = "kore"
)

// Known reports whether d is a dialect.
func (d Dialect) Known() bool { return d == Twilio || d == KORE }

// Signing is what signs the callbacks of an account.
type Signing struct {
	Dialect  Dialect   // Twilio if empty
	Token    db.Secret // auth token, for X-Twilio-Signature
	Secret   db.Secret // webhook secret, for kore-signature; none leaves that header empty
	Standard db.Secret // key of the Standard Webhooks signature; none leaves its headers out
}

// SignKORE makes the kore-signature of a request: SHA-256 over the secret, the
// method, the URL without query and fragment, and the body. It is no HMAC,
// and the parameters of a GET are not under it: for those it proves nothing. An
// account without secret has an empty one.
func SignKORE(secret db.Secret, method, requested, body string) string {
	if len(secret) == 0 {
		return ""
	}
	if u, err := url.Parse(requested); err == nil {
		u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
		requested = u.String()
	}
	h := sha256.New()
	h.Write(secret)
	h.Write([]byte(method + requested + body))
	return hex.EncodeToString(h.Sum(nil))
}

// SignStandard makes the webhook-signature of Standard Webhooks: version 1, an
// HMAC-SHA256 over identifier, time and body. The body of a GET is empty.
func SignStandard(key db.Secret, id string, at time.Time, body string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// sign sets the headers by which a receiver knows the sender. given is the URL
// as the customer wrote it, for KORE signs that and not what is requested.
func (s Signing) sign(req *http.Request, d delivery, given string, form url.Values, body string, now time.Time) {
	h := req.Header
	switch s.Dialect {
	case KORE:
		h.Set("User-Agent", "KoreProxy/1.1")
		h.Set("Date", now.UTC().Format("2006-01-02T15:04:05Z"))
		// Their documentation has these names in lower case. HTTP does not care,
		// some receivers may.
		h["kore-idempotency-token"] = []string{d.token}
		h["kore-signature"] = []string{SignKORE(s.Secret, d.method, given, body)}
	default:
		h.Set("User-Agent", "TwilioProxy/1.1")
		h.Set("I-Twilio-Idempotency-Token", d.token)
		h.Set("X-Twilio-Signature", Sign(s.Token, req.URL.String(), form))
	}
	if len(s.Standard) > 0 {
		h["webhook-id"] = []string{d.token}
		h["webhook-timestamp"] = []string{strconv.FormatInt(now.Unix(), 10)}
		h["webhook-signature"] = []string{SignStandard(s.Standard, d.token, now, body)}
	}
}
