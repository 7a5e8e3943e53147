package supersim_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/sim"
	"godwit/supersim"
	"godwit/usage"
)

// A list of usage whose times were left out is one list on all of its pages,
// however long a client takes to follow the links; and KORE's dialect has
// smaller pages.
func TestUsagePages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d, "")
		h.store.Catalogue = sim.Builtin()
		now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
		s := &usage.Store{DB: d, Jobs: h.store.Jobs, Events: h.store.Events, Callbacks: h.store.Callbacks, Sims: h.store, Now: func() time.Time { return now }}
		networks := h.store.Catalogue.Networks(sim.NetworkFilter{}, sim.Page{Limit: 60}).Items
		uses := make([]usage.Use, len(networks))
		for i, n := range networks {
			uses[i] = usage.Use{
				SIM: sim.Sim{SID: "HS00000000000000000000000000000001", Account: h.account}, At: now.Add(-time.Hour),
				Network: n.Identifiers[0], Upload: int64(i),
			}
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			_, err := tx.ExecContext(t.Context(), `insert into sim (sid, account_sid, iccid, status, created_at, updated_at) values ($1, $2, '8988307000000000006', 'new', 1, 1)`,
				uses[0].SIM.SID, h.account)
			if err != nil {
				return err
			}
			return s.Add(t.Context(), tx, uses)
		}); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(supersim.New(h.store, supersim.Options{
			Authenticate: h.accounts.Verify, VerifyToken: h.accounts.VerifyToken, Accounts: h.accounts, Usage: s,
		}))
		defer server.Close()
		type page struct {
			Records []struct {
				Network string `json:"network_sid"`
				Period  struct {
					Start string `json:"start_time"`
					End   string `json:"end_time"`
				} `json:"period"`
				Billed json.RawMessage `json:"data_total_billed"`
			} `json:"usage_records"`
			Meta struct {
				Size int    `json:"page_size"`
				Next string `json:"next_page_url"`
				Back string `json:"previous_page_url"`
			} `json:"meta"`
		}
		get := func(url, authorization string) (p page) {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", authorization)
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != 200 {
				t.Fatalf("%s: %d %s, %v", url, answer.StatusCode, body, err)
			}
			if err := json.Unmarshal(body, &p); err != nil {
				t.Fatal(err)
			}
			return p
		}
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(h.account+":"+h.token))
		seen := map[string]bool{}
		var back string
		for next := server.URL + "/v1/UsageRecords?Group=network&PageSize=25"; next != ""; {
			p := get(next, basic)
			for _, r := range p.Records {
				if seen[r.Network] {
					t.Errorf("%s is on two pages", r.Network)
				}
				seen[r.Network] = true
				if r.Period.Start != "2026-10-20T10:00:00Z" || r.Period.End != "2026-11-20T10:00:00Z" {
					t.Errorf("period %+v changes from page to page", r.Period)
				}
				if string(r.Billed) != "0" {
					t.Errorf("data_total_billed is %s, not a number", r.Billed)
				}
			}
			next, back = p.Meta.Next, p.Meta.Back
			now = now.Add(time.Minute)
		}
		if len(seen) != len(networks) {
			t.Errorf("%d of %d networks are on the pages", len(seen), len(networks))
		}
		if p := get(back, basic); len(p.Records) != 25 {
			t.Errorf("the page before has %d records", len(p.Records))
		}

		var c account.Client
		if err := d.Write(t.Context(), func(tx *db.Tx) (err error) {
			c, _, err = h.accounts.CreateClient(t.Context(), tx, account.Client{Account: h.account, Name: "c"}, false)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		token, err := h.accounts.Issue(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for authorization, want := range map[string]int{basic: 1000, "Bearer " + token.Text: 249} {
			if p := get(server.URL+"/v1/UsageRecords?PageSize=1000", authorization); p.Meta.Size != want {
				t.Errorf("a page may have %d records, not %d", p.Meta.Size, want)
			}
		}
	})
}

// A time that is none and one that is too far away are refused for what they are.
func TestUsageTimes(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t), "")
	s := &usage.Store{DB: h.store.DB, Jobs: h.store.Jobs, Events: h.store.Events, Callbacks: h.store.Callbacks, Sims: h.store}
	door := supersim.New(h.store, supersim.Options{Authenticate: h.accounts.Verify, VerifyToken: h.accounts.VerifyToken, Accounts: h.accounts, Usage: s})
	for value, want := range map[string]string{
		"0001-01-01T00:00:00Z": "StartTime: must lie in the years from 1971 to 9000, not in 1",
		"2026-02-30T00:00:00Z": `StartTime: must be a date and time such as 2026-11-20T10:00:00Z, not "2026-02-30T00:00:00Z"`,
	} {
		r := httptest.NewRequest("GET", "/v1/UsageRecords?StartTime="+value, nil)
		r.SetBasicAuth(h.account, h.token)
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		var refusal struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || refusal.Code != usage.CodeInvalid || refusal.Message != want {
			t.Errorf("%s: %d %s (%v), want %q", value, w.Code, w.Body, err, want)
		}
	}
}

// What is wrong with a filter of usage has the code for that whatever it is;
// pages are pages, also here.
func TestUsageRefusals(t *testing.T) {
	h := newHouse(t, dbtest.SQLite(t), "")
	h.store.Catalogue = sim.Builtin()
	s := &usage.Store{DB: h.store.DB, Jobs: h.store.Jobs, Events: h.store.Events, Callbacks: h.store.Callbacks, Sims: h.store}
	door := supersim.New(h.store, supersim.Options{Authenticate: h.accounts.Verify, VerifyToken: h.accounts.VerifyToken, Accounts: h.accounts, Usage: s})
	for _, tt := range []struct {
		query string
		code  int
		field string
	}{
		{"UsageRecords?Group=a%00b", 83600, "Group"},
		{"UsageRecords?Sim=%FF", 83600, "Sim"},
		{"UsageRecords?Granularity=day&Granularity=hour", 83600, "Granularity"},
		{"UsageRecords?EndTime=2026-01-01T00:00:00Z&EndTime=2026-01-02T00:00:00Z", 83600, "EndTime"},
		{"UsageRecords?IsoCountry=usa", 83600, "IsoCountry"},
		{"UsageRecords?Group=sims", 83600, "Group"},
		{"UsageRecords?Network=HW1", 83600, "Network"},
		{"UsageRecords?PageSize=0", 20001, "PageSize"},
		{"UsageRecords?PageToken=x", 20001, "PageToken"},
		{"Networks?IsoCountry=usa", 20001, "IsoCountry"},
		{"Networks?IsoCountry=1a", 20001, "IsoCountry"},
		{"Networks?IsoCountry=%C4%B1", 20001, "IsoCountry"}, // a dotless i, two octets whose capital is one
		{"Networks?Mcc=31", 20001, "Mcc"},
		{"Networks?Mnc=1", 20001, "Mnc"},
		{"Networks?Mnc=4i0", 20001, "Mnc"},
		{"Networks?IsoCountry=xx&Mcc=000&Mnc=00", 0, ""},
		{"UsageRecords?IsoCountry=xx", 0, ""},
	} {
		r := httptest.NewRequest("GET", "/v1/"+tt.query, nil)
		r.SetBasicAuth(h.account, h.token)
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		var refusal struct {
			Code    int `json:"code"`
			Details struct {
				Parameters map[string]string `json:"parameters"`
			} `json:"details"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || refusal.Code != tt.code || (tt.field != "" && refusal.Details.Parameters[tt.field] == "") {
			t.Errorf("%s: %d %s (%v), want %d for %q", tt.query, w.Code, w.Body, err, tt.code, tt.field)
		}
	}
}
