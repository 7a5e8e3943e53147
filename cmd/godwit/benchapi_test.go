package main

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestBenchAPI fills a data directory and reads everything that can be read from
// a server on it. How fast is nobody's business here.
func TestBenchAPI(t *testing.T) {
	p := startServer(t)
	p.kill()
	godwit(t, "bench", "fill", "--data", p.data, "--sims", "1100")
	godwit(t, "bench", "fill", "--data", p.data, "--sims", "30", "--first", "1100", "--plastic")
	p.start()
	for what, stored := range map[string]int{"sim": 1130, "sims": 1130, "esim": 1100, "esims": 1100} {
		var runs []apiFigures
		idle := func(f apiFigures) bool { return f.Requests == 0 && f.Errors == 0 }
		for _, seconds := range []string{"0.1", "1", "10", "60"} { // longer where the machine has much else to do
			runs = nil
			out := godwit(t, "bench", "api", "--data", p.data, "--what", what, "--clients", "1,3", "--seconds", seconds, "--json")
			if err := json.Unmarshal(out, &runs); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if !slices.ContainsFunc(runs, idle) {
				break
			}
		}
		for _, f := range runs {
			if f.Stored != stored || f.Errors != 0 || f.Requests == 0 || f.PerSecond <= 0 || f.P50 > f.P99 || f.Memory < 5 || f.What != what {
				t.Errorf("%s: %+v, want %d stored", what, f, stored)
			}
		}
	}
}
