package callback

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"godwit/db"
)

// Vectors of KORE's documentation.
func TestSignKORE(t *testing.T) {
	for _, tt := range []struct{ name, secret, method, url, body, want string }{
		{"form", "12345", "POST", "https://testendpoint.com", "field1=value1&field2=value2", "f562d3959f68b5a30fc7a63f8bbf40987f633575f4231ffceb4f76dd154ea3ce"},
		{"another secret", "secret12345", "POST", "https://testendpoint.com", "field1=value1&field2=value2", "4fdba0cb1394cc8d17b8dabb04634aa9a951021a7b161f9c7a2186cd490b18b2"},
		{"JSON", "a35974bdf1c769b8bb", "POST", "https://testendpoint.com", `{"field1":"value1","field2":"value2"}`, "d21c555b37789cdb9433a85760d326f0c637d5c17676b8dc49918ec629c67d59"},
		{"query and fragment do not count", "12345", "POST", "https://testendpoint.com?a=b#rc=2", "field1=value1&field2=value2", "f562d3959f68b5a30fc7a63f8bbf40987f633575f4231ffceb4f76dd154ea3ce"},
		{"no secret", "", "POST", "https://testendpoint.com", "field1=value1&field2=value2", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := SignKORE(db.Secret(tt.secret), tt.method, tt.url, tt.body); got != tt.want {
				t.Errorf("signature %s, want %s", got, tt.want)
			}
		})
	}
}

// The example in the specification of Standard Webhooks.
func TestSignStandard(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := SignStandard(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), `{"test": 2432232314}`)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestDialects(t *testing.T) {
	target, err := parseTarget("https://testendpoint.com#rc=1")
	if err != nil {
		t.Fatal(err)
	}
	d := delivery{method: http.MethodPost, token: "abc", target: target, form: "field1=value1&field2=value2"}
	now := time.Date(2024, 9, 25, 19, 9, 48, 0, time.UTC)
	req, err := newRequest(t.Context(), d, Signing{Dialect: KORE, Secret: db.Secret("12345"), Standard: db.Secret("k")}, now)
	if err != nil {
		t.Fatal(err)
	}
	var wire strings.Builder
	if err := req.Write(&wire); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"User-Agent: KoreProxy/1.1\r\n", "Date: 2024-09-25T19:09:48Z\r\n", "kore-idempotency-token: abc\r\n",
		"kore-signature: f562d3959f68b5a30fc7a63f8bbf40987f633575f4231ffceb4f76dd154ea3ce\r\n",
		"webhook-id: abc\r\n", "webhook-timestamp: 1727291388\r\n",
		"webhook-signature: " + SignStandard(db.Secret("k"), "abc", now, d.form) + "\r\n",
	} {
		if !strings.Contains(wire.String(), line) {
			t.Errorf("request has no line %q:\n%s", line, wire.String())
		}
	}
	if strings.Contains(wire.String(), "Twilio") {
		t.Errorf("request in KORE's dialect speaks of Twilio:\n%s", wire.String())
	}
}
