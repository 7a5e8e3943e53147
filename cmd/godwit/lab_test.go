package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/db/dbtest"
	"godwit/lab"
)

// TestChaos has a small fleet with many faults, and operations on it, while the
// server is killed twice, and judges: everything ends, in a state that its device
// confirms, once. `godwit lab chaos` does the same with thousands.
func TestChaos(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, database string) {
		began := time.Now()
		p := startServer(t, databaseFlag(database))
		// What a quick machine does in eight seconds, a start of the server included.
		long := max(8*time.Second, 6*time.Since(began)).String()
		var out bytes.Buffer
		var problems syncBuffer
		command := program(t.Context(), "lab", "chaos", "--data", p.data, "--devices", "20", "--faults", "8%", "--consumer", "25%",
			"--for", long, "--settle", "5m", "--interval", "500ms", "--rate", "6", "--seed", "11", "--json")
		command.Stdout, command.Stderr = &out, &problems
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- command.Wait() }()
		// Its profiles are ordered once: a server that dies there is the end of it.
		until(t, "the chaos begins", nil, func() bool {
			select {
			case err := <-ended:
				t.Fatalf("it has ended: %v\n%s", err, &problems)
			default:
			}
			return strings.Contains(problems.String(), "codes are registered")
		})
		for range 2 {
			passes(2500 * time.Millisecond)
			p.kill()
			p.start()
		}
		err := <-ended
		var f lab.Figures
		if e := json.Unmarshal(out.Bytes(), &f); e != nil {
			t.Fatalf("%v %v\n%s%s", err, e, out.Bytes(), &problems)
		}
		for _, v := range f.Violations {
			t.Errorf("not so: %s: %s: %s", v.Rule, v.Device, v.What)
		}
		if err != nil || f.Posted == 0 || f.Installed == 0 || f.Operations["activate successful"] == 0 || len(f.Lab.Faults) < 4 {
			t.Errorf("%v: %s", err, out.Bytes())
		}
	})
}

// TestSandbox starts a server with virtual devices inside, kills it in the middle
// of their lives, and starts it again: they are the same devices and go on.
func TestSandbox(t *testing.T) {
	p := startServer(t, "--lab", "12", "--lab-interval", "300ms", "--lab-faults", "3%")
	enrolled := func() map[string]string {
		found := map[string]string{}
		for deadline := time.Now().Add(longest); len(found) < 12; pause() {
			var page struct {
				List []struct {
					EID    string `json:"eid"`
					Device string `json:"device_id"`
				} `json:"list"`
			}
			p.askAsUser(t, http.MethodGet, "/ws/v1/esims/inventory", "", &page)
			for _, e := range page.List {
				found[e.EID] = e.Device
			}
			if time.Now().After(deadline) {
				t.Fatalf("after %s %d devices have enrolled", longest, len(found))
			}
		}
		return found
	}
	before := enrolled()
	p.kill()
	p.start()
	if after := enrolled(); len(after) != len(before) {
		t.Fatalf("%d devices became %d", len(before), len(after))
	}
	if chips, err := filepath.Glob(filepath.Join(p.data, "lab", "*", "euicc", "card.json")); err != nil || len(chips) != 12 {
		t.Errorf("%d chips are kept: %v", len(chips), err)
	}
	// They live: one of them tells its profiles, and that it is there, once more.
	started := time.Now()
	for {
		var page struct {
			List []struct {
				Last time.Time `json:"last_connect"`
				Seen string    `json:"connection_status"`
			} `json:"list"`
		}
		p.askAsUser(t, http.MethodGet, "/ws/v1/devices/inventory", "", &page)
		connected := 0
		for _, d := range page.List {
			if d.Seen == "connected" {
				connected++
			}
		}
		if connected == 12 {
			return
		}
		if time.Since(started) > longest {
			t.Fatalf("%d of 12 devices are connected after %s", connected, longest)
		}
		pause()
	}
}

// TestPlanIsData: the plan of a lab is printed without a server, and is the same
// each time.
func TestPlanIsData(t *testing.T) {
	args := []string{"lab", "--plan", "--devices", "30", "--seed", "5", "--faults", "10%", "--consumer", "50%", "--horizon", "50"}
	first, again := godwit(t, args...), godwit(t, args...)
	if !bytes.Equal(first, again) {
		t.Error("the same seed has another plan the second time")
	}
	lines := strings.Split(strings.TrimSpace(string(first)), "\n")
	if len(lines) != 30 {
		t.Fatalf("%d plans", len(lines))
	}
	kinds := map[string]int{}
	for i, line := range lines {
		var p lab.PlanText
		if err := json.Unmarshal([]byte(line), &p); err != nil || p.Number != i+1 || p.EID == "" || len(p.Strikes) == 0 {
			t.Errorf("plan %d: %v %s", i+1, err, line)
		}
		kinds[p.Kind]++
	}
	if len(kinds) != 2 || kinds["iot"] == 0 || kinds["consumer"] == 0 {
		t.Errorf("kinds of eUICC: %v", kinds)
	}
	for _, n := range []string{"0", "1000000"} {
		if out, err := program(t.Context(), "lab", "--plan", "--devices", n).CombinedOutput(); err == nil || !strings.Contains(string(out), "1 to 999999 devices") {
			t.Errorf("a plan of %s devices: %v %s", n, err, out)
		}
	}
	help := strings.Join(strings.Fields(string(godwit(t, "lab", "chaos", "--help"))), " ")
	for _, k := range lab.Kinds() {
		if !strings.Contains(help, string(k)) {
			t.Errorf("the help says nothing of %s", k)
		}
	}
}
