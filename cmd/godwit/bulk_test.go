package main

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
)

// TestKilledInTheMiddleOfAnOrder kills the server, as a power cut would, while
// it prepares an order, starts it again, and counts: every item has one
// profile, none has two, and each is charged once.
func TestKilledInTheMiddleOfAnOrder(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, database string) {
		const stock, total = 10000, 10050 // of a new server, and more than that
		p := startServer(t, databaseFlag(database))
		var o bulkOrder
		if status := p.call(ordersPath, url.Values{"Count": {"10050"}, "Partial": {"true"}}, &o); status != http.StatusCreated {
			t.Fatalf("the order was answered %d", status)
		}
		kills := 0
		done, deadline := int64(-1), time.Time{}
		for ; !o.ended(); pause() {
			p.call(ordersPath+"/"+o.SID, nil, &o)
			if n := o.Available + o.Failed; n != done { // however slowly, it moves on
				done, deadline = n, time.Now().Add(longest)
			}
			if kills < 2 && o.Available >= int64(1000+2000*kills) && !o.ended() {
				kills++
				p.kill()
				p.start()
			}
			if time.Now().After(deadline) {
				t.Fatalf("the order does not move on: %+v", o)
			}
		}
		if kills == 0 {
			t.Error("the order ended before the server was killed")
		}
		if o.Status != "completed" || o.Available != stock || o.Failed != total-stock {
			t.Fatalf("order %+v", o)
		}
		items := readCSV(t, p.body(ordersPath+"/"+o.SID+"/Results.csv"))
		charges := readCSV(t, p.body("/v1/Charges.csv?OrderSid="+o.SID))
		if len(items) != total || len(charges) != stock {
			t.Fatalf("%d items, %d charges of %d profiles", len(items), len(charges), stock)
		}
		seen := map[string]bool{}
		for _, item := range items {
			if item["status"] == "failed" && item["error_code"] == "83500" && item["iccid"] == "" {
				continue
			}
			if item["status"] != "available" || !strings.HasPrefix(item["activation_code"], "LPA:1$") {
				t.Fatalf("item %v", item)
			}
			for _, name := range []string{"item", "iccid", "esim_profile_sid", "sim_sid", "matching_id"} {
				if seen[name+item[name]] {
					t.Fatalf("%s %s is there twice", name, item[name])
				}
				seen[name+item[name]] = true
			}
		}
		for _, c := range charges {
			if seen["charge"+c["esim_profile_sid"]] || !seen["esim_profile_sid"+c["esim_profile_sid"]] {
				t.Fatalf("charge %v is a second one, or of no profile of the order", c)
			}
			seen["charge"+c["esim_profile_sid"]] = true
		}
	})
}

// TestRepeatedUnderOneKey sends one reservation many times at once under one
// key: one is made, and all hear of it.
func TestRepeatedUnderOneKey(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, database string) {
		p := startServer(t, databaseFlag(database))
		post := func(key, body string) (int, string, bool) {
			request, err := http.NewRequest(http.MethodPost, p.credentials.BaseURL+"/v1/ESimProfiles", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return 0, "", false
			}
			request.SetBasicAuth(p.credentials.AccountSID, p.credentials.AuthToken)
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Idempotency-Key", key)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Error(err)
				return 0, "", false
			}
			return response.StatusCode, readAll(t, response), response.Header.Get("Idempotency-Replayed") == "true"
		}
		var mu sync.Mutex
		var all sync.WaitGroup
		answers, fresh := map[string]int{}, 0
		for range 12 {
			all.Go(func() {
				status, body, replayed := post("k1", "GenerateMatchingId=true")
				for underWay(status, []byte(body)) { // on a machine that takes its time
					status, body, replayed = post("k1", "GenerateMatchingId=true")
				}
				mu.Lock()
				defer mu.Unlock()
				answers[body]++
				if status != http.StatusCreated {
					t.Errorf("answered %d %s", status, body)
				}
				if !replayed {
					fresh++
				}
			})
		}
		all.Wait()
		if len(answers) != 1 || fresh != 1 {
			t.Errorf("%d different answers, %d of them first ones: %v", len(answers), fresh, answers)
		}
		var list struct {
			Profiles []struct{} `json:"esim_profiles"`
		}
		if p.call("/v1/ESimProfiles", nil, &list); len(list.Profiles) != 1 {
			t.Errorf("%d reservations were made", len(list.Profiles))
		}
		if status, body, _ := post("k1", "GenerateMatchingId=true&CallbackMethod=GET"); status != http.StatusBadRequest || !strings.Contains(body, "Idempotency-Key") {
			t.Errorf("another body under the key: %d %s", status, body)
		}
		// What was refused made nothing: its key is free.
		if status, body, _ := post("k2", "Eid=1"); status != http.StatusBadRequest {
			t.Errorf("refusal: %d %s", status, body)
		}
		if status, body, _ := post("k2", "GenerateMatchingId=true"); status != http.StatusCreated {
			t.Errorf("after the refusal: %d %s", status, body)
		}
	})
}

func (p *process) body(path string) string {
	p.t.Helper()
	request, err := http.NewRequest(http.MethodGet, p.credentials.BaseURL+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.SetBasicAuth(p.credentials.AccountSID, p.credentials.AuthToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		p.t.Fatalf("%s answered %s", path, response.Status)
	}
	return readAll(p.t, response)
}

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

// readCSV reads a table with a header.
func readCSV(t *testing.T, text string) []map[string]string {
	t.Helper()
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]string
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, cell := range record {
			row[records[0][i]] = cell
		}
		list = append(list, row)
	}
	return list
}

// TestAnswerLost takes away the answers that were kept, as a crash between a
// change and its answer does: whoever asks again is answered with the thing,
// whether it was made or changed.
func TestAnswerLost(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, database string) {
		p := startServer(t, databaseFlag(database))
		var access, fleet, profile struct{ SID, Status string }
		requests := []struct {
			path          string
			form          url.Values
			status, again int
			into          *struct{ SID, Status string }
		}{
			{"/v1/NetworkAccessProfiles", url.Values{"UniqueName": {"all"}}, 201, 201, &access},
			{"/v1/Fleets", url.Values{"UniqueName": {"field"}, "NetworkAccessProfile": {"all"}}, 201, 201, &fleet},
			{"/v1/Fleets/field", url.Values{"DataLimit": {"7"}}, 200, 200, &fleet},
			{"/v1/ESimProfiles.json", url.Values{"GenerateMatchingId": {"true"}}, 201, 201, &profile},
			// What no single resource shows: the caller is told where to look.
			{"/v1/NetworkAccessProfiles/all/Networks", url.Values{"Network": {"HWbfb5e5cebc1af5cd3a9bb3b6e0fd2c6f"}}, 0, http.StatusConflict, nil},
		}
		ask := func(i int) (int, string, bool) {
			request, err := http.NewRequest(http.MethodPost, p.credentials.BaseURL+requests[i].path, strings.NewReader(requests[i].form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			request.SetBasicAuth(p.credentials.AccountSID, p.credentials.AuthToken)
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Idempotency-Key", strconv.Itoa(i))
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			return response.StatusCode, readAll(t, response), response.Header.Get("Idempotency-Replayed") == "true"
		}
		var networks struct{ Networks []struct{ SID string } }
		p.call("/v1/Networks?PageSize=1", nil, &networks)
		requests[4].form.Set("Network", networks.Networks[0].SID)
		for i, r := range requests {
			status, body, _ := ask(i)
			if r.status != 0 && status != r.status || status >= 300 {
				t.Fatalf("%s: %d %s", r.path, status, body)
			}
			if r.into != nil {
				if err := json.Unmarshal([]byte(body), r.into); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.kill()
		d := p.database(dataFlags{})
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			_, err := tx.ExecContext(t.Context(), `update request_once set status = 0, content_type = '', body = null`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		p.start()
		for i, r := range requests {
			status, body, replayed := ask(i)
			var got struct{ SID string }
			_ = json.Unmarshal([]byte(body), &got)
			if status != r.again || replayed != (r.into != nil) || r.into != nil && got.SID != r.into.SID {
				t.Errorf("%s again: %d %s, want %d and %+v", r.path, status, body, r.again, r.into)
			}
		}
	})
}
