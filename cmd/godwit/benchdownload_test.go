package main

import (
	"encoding/json"
	"strings"
	"testing"

	"godwit/saip"
)

// TestBenchDownload makes a few downloads: the floor binds and sends packages of
// the size that the server's have.
func TestBenchDownload(t *testing.T) {
	p, want := startServer(t), len(saip.FullUSIM().Bytes())
	for _, through := range []string{"operator", "api"} {
		said := godwit(t, "bench", "download", "--data", p.data, "--downloads", "4", "--clients", "2", "--through", through, "--json")
		var f downloadFigures
		if err := json.Unmarshal(said, &f); err != nil {
			t.Fatalf("%v in %s", err, said)
		}
		if f.Downloads != 4 || f.Errors != 0 || f.FloorCPU <= 0 || f.Octets != want {
			t.Errorf("through %s: %s, want packages of %d octets", through, said, want)
		}
	}
	if said, err := program(t.Context(), "bench", "download", "--data", p.data, "--profile-type", "nobodys").CombinedOutput(); err == nil || !strings.Contains(string(said), "no profile type nobodys") {
		t.Errorf("a type of nobody: %v, %s", err, said)
	}
}
