package main

import (
	"encoding/json"
	"os"
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

// TestNothingPrinted: what could not be printed was not done.
func TestNothingPrinted(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs /dev/full, which Linux has: ", err)
	}
	defer full.Close()
	for _, args := range [][]string{{"profile", "templates"}, {"version"}, {"explain", "8.2.6/3.8"}, {"explain", "8.2.6/3.8", "--json"}} {
		cmd := program(t.Context(), args...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = full, &said
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(said.String(), "no space left on device") {
			t.Errorf("%q ends with %v, %q", args, err, said.String())
		}
	}
}

// TestWrongUse: a command that cannot mean anything is wrong use.
func TestWrongUse(t *testing.T) {
	for args, want := range map[string]string{
		"order bulk":                           "give a file or --count",
		"privacy expire":                       "give --messages, --evidence or --devices",
		"privacy expire --messages=-1h":        "give --messages, --evidence or --devices",
		"stock list --state gone":              "--state: one of [available ",
		"networks list --country usa":          "--country: must be a country code of two letters",
		"networks list --country 1a":           "--country: must be a country code of two letters",
		"networks list --country de --data=/x": "is no data directory",
	} {
		cmd := program(t.Context(), strings.Fields(args)...)
		var said strings.Builder
		cmd.Stderr = &said
		cmd.Run()
		code := exitUsage
		if strings.Contains(args, "--data") {
			code = exitFailed
		}
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(said.String(), want) {
			t.Errorf("godwit %s ends with %d, %q, want %d, %q", args, got, said.String(), code, want)
		}
	}
}
