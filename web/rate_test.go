package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"godwit/account"
	"godwit/fault"
	"godwit/web"
)

// An account that asks too fast is told when to come back, and then is
// answered; others do not suffer.
func TestRates(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	door := &web.Door{
		Routes: web.Routes{{Path: "/v1/Things", Methods: map[string]web.Handler{http.MethodGet: func(w http.ResponseWriter, _ *web.Request) error {
			return web.WriteJSON(w, http.StatusOK, nil)
		}}}},
		Authenticate: func(r *http.Request) (account.Caller, error) {
			user, _, _ := r.BasicAuth()
			return account.Caller{Account: user}, nil
		},
		Render: func(w http.ResponseWriter, _ *web.Request, refusal *fault.Error, _ []*fault.Error) {
			if refusal.Kind != fault.TooMany {
				t.Errorf("refused: %v", refusal)
			}
			w.WriteHeader(http.StatusTooManyRequests)
		},
		Rates: &web.Rates{PerSecond: 0.5, Burst: 2, Now: func() time.Time { return now }},
	}
	ask := func(user string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/v1/Things", nil)
		r.SetBasicAuth(user, "x")
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		return w
	}
	for i, want := range []int{200, 200, 429, 429} {
		if w := ask("a"); w.Code != want {
			t.Fatalf("request %d: %d, want %d", i, w.Code, want)
		} else if want == 429 && w.Header().Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
	}
	if w := ask("b"); w.Code != 200 {
		t.Errorf("another account: %d", w.Code)
	}
	now = now.Add(2 * time.Second)
	if w := ask("a"); w.Code != 200 {
		t.Errorf("after Retry-After: %d", w.Code)
	}
}
