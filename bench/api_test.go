package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// list serves n Sims as the API does: pages by token, one Sim by SID.
func list(n int, spoil func(sid string) string) http.Handler {
	sid := func(i int) string { return fmt.Sprintf("HS%032x", i) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/Sims/{sid}", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "AC1" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"sid":"%s","account_sid":"AC1"}`, spoil(r.PathValue("sid")))
	})
	mux.HandleFunc("GET /v1/Sims", func(w http.ResponseWriter, r *http.Request) {
		from, size := 0, 0
		fmt.Sscan(r.FormValue("PageToken"), &from)
		fmt.Sscan(r.FormValue("PageSize"), &size)
		var sims []map[string]string
		for i := from; i < min(n, from+size); i++ {
			sims = append(sims, map[string]string{"sid": sid(i)})
		}
		meta := map[string]any{"next_page_url": nil}
		if from+size < n {
			meta["next_page_url"] = fmt.Sprintf("http://%s/v1/Sims?PageSize=%d&PageToken=%d", r.Host, size, from+size)
		}
		json.NewEncoder(w).Encode(map[string]any{"sims": sims, "meta": meta}) // large ones come in chunks
	})
	return mux
}

// long measures for long enough that something comes about, which may take long
// on a machine that has much else to do.
func long(measure func(during time.Duration) *ReadResult) (r *ReadResult) {
	for during := 50 * time.Millisecond; during < time.Minute; during *= 4 {
		if r = measure(during); r.Requests > 0 || r.Errors > 0 {
			break
		}
	}
	return r
}

func TestReadAPI(t *testing.T) {
	server := httptest.NewServer(list(2500, func(sid string) string { return sid }))
	defer server.Close()
	api := API{URL: server.URL, User: "AC1", Password: "secret"}
	for _, what := range []string{ReadSim, ReadSims} {
		stock, err := api.TakeStock(t.Context(), what, nil)
		if err != nil || stock.Stored() != 2500 || len(stock.pages) != 3 {
			t.Fatalf("%+v, %v", stock, err)
		}
		r := long(func(during time.Duration) *ReadResult { return api.Read(t.Context(), stock, 3, during) })
		if r.Errors != 0 || r.Requests == 0 || len(r.times) != r.Requests || r.PerSecond() <= 0 {
			t.Errorf("%s: %d requests, %d errors, the first %v", what, r.Requests, r.Errors, r.FirstErr)
		}
	}
}

// TestReadAPINotices wants answers that are wrong to count as errors.
func TestReadAPINotices(t *testing.T) {
	for name, tt := range map[string]struct {
		password string
		spoil    func(string) string
		want     string
	}{
		"another Sim": {"secret", func(string) string { return "HS" + strings.Repeat("f", 32) }, "about something else"},
		"a refusal":   {"wrong", func(sid string) string { return sid }, "HTTP status 401"},
	} {
		server := httptest.NewServer(list(10, tt.spoil))
		api := API{URL: server.URL, User: "AC1", Password: tt.password}
		stock, err := api.TakeStock(t.Context(), ReadSim, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := api.Read(t.Context(), stock, 2, time.Minute)
		if r.Requests != 0 || r.Errors != 2*mostErrors || !strings.Contains(fmt.Sprint(r.FirstErr), tt.want) {
			t.Errorf("%s: %d requests, %d errors, the first %v", name, r.Requests, r.Errors, r.FirstErr)
		}
		server.Close()
	}
	if _, err := (API{URL: "nowhere"}).TakeStock(context.Background(), ReadSim, nil); err == nil {
		t.Error("no address is no address")
	}
}

// FuzzAnswer reads answers of whatever kind: they are read to a bounded size or
// refused.
func FuzzAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	f.Add("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		c := &apiConn{in: bufio.NewReader(strings.NewReader(s))}
		status, err := c.answer()
		if err == nil && (len(c.body) > len(s) || status < -99 || status > 999) {
			t.Errorf("status %d and %d octets of %q", status, len(c.body), s)
		}
	})
}
