package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// TestForPeople: what a command shows is for people, and for scripts if they say
// so; both tell the same.
func TestForPeople(t *testing.T) {
	s := startServer(t)
	data := []string{"--data", s.data}
	var list []struct {
		ICCID string `json:"iccid"`
		IMSI  string `json:"imsi"`
	}
	if err := json.Unmarshal(godwit(t, "stock", "list", "--limit", "1", "--json", "--data", s.data), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, tt := range []struct{ args, people, scripts string }{
		{"stock show " + list[0].ICCID, "IMSI                " + list[0].IMSI, `"imsi": "` + list[0].IMSI + `"`},
		{"stock show --secrets " + list[0].ICCID, "\nopc  ", `"opc": "`},
		{"card count", "0 can be registered, 0 are", `"registrable": 0`},
		{"networks list --country us", "310/410", `"310/410"`},
		{"privacy expire --messages 1h", "there was nothing to delete", "{}"},
		{"privacy expire --evidence 1ns", " deleted\n", `"event": `},
	} {
		for _, asJSON := range []bool{false, true} {
			args, want := append(strings.Fields(tt.args), data...), tt.people
			if asJSON {
				args, want = append(args, "--json"), tt.scripts
			}
			if tt.people == " deleted\n" { // both forms need something to delete
				godwit(t, "user", "add", "ada-"+strconv.FormatBool(asJSON), "--data", s.data)
			}
			out := godwit(t, args...)
			if json.Valid(out) != asJSON || !strings.Contains(string(out), want) {
				t.Errorf("%q prints %s, want %q", args, out, want)
			}
		}
	}
}
