package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"godwit/device"
)

// TestServeWrongUse: what cannot be served is refused with the flag's name and
// the rule, before anything is made on disk.
func TestServeWrongUse(t *testing.T) {
	for _, c := range []struct{ flag, value, want string }{
		{"--listen", "x", `--listen: "x" is not HOST:PORT`},
		{"--listen", "127.0.0.1:99999", "0 to 65535"},
		{"--rsp-listen", "127.0.0.1", "--rsp-listen: "},
		{"--rsp-listen", "127.0.0.1:0=a=b", "HOST:PORT=SET"},
		{"--rsp-listen", "127.0.0.1:0=", "HOST:PORT=SET"},
		{"--smdp-address", "http://x/", "without scheme and path"},
		{"--smdp-address", "bad_host", "--smdp-address: "},
		{"--smdp-address", "smdp.example.com:0", "1 to 65535"},
		{"--public-url", "nope", "--public-url: "},
		{"--trusted-proxy", "10.0.0.1", `--trusted-proxy: a network such as 10.0.0.0/8, not "10.0.0.1"`},
		{"--callback-allow", "300.1.1.1/8", `--callback-allow: a network such as 10.1.0.0/16, HOST or HOST:PORT, not "300.1.1.1/8"`},
		{"--poll-interval", "500ms", "--poll-interval: a time of 1s or more, as 60s, not 500ms"},
		{"--lab", "=-1", "--lab: a number from 0"},
		{"--lab-faults", "200%", `--lab-faults: "200%" is no share`},
		{"--lab-interval", "1ms", "--lab-interval: a time of 100ms or more, as 30s, not 1ms"},
		{"--database", "mysql://x", `--database: a database is sqlite, sqlite:PATH or postgres://…, not of kind "mysql"`},
		{"--retention-messages", "1m", "--retention-messages: an age of 1h or more"},
		{"--retention-devices", "59m", "--retention-devices: an age of 1h or more"},
		{"--esim-action-time", "0s", "--esim-action-time: a time of 1s or more"},
		{"--esim-operation-time", "banana", "--esim-operation-time"},
		{"--esim-keep-codes", "1m", "--esim-keep-codes: an age of 1h or more"},
		{"--disconnected-after", "5s", "--disconnected-after: a time of 1m or more"},
		{"--core", "foo://x", "--core: a core network is osmohlr://HOST:PORT"},
		{"--core", "osmohlr://", "--core: "},
		{"--radius-client", "x", "--radius-client: "},
		{"--radius-client", "192.0.2.1=secret", "--radius-client needs --radius-listen"},
		{"--radius-listen", "127.0.0.1:0", "--radius-listen needs a --radius-client"},
		{"--ip-command-listen", "x", `--ip-command-listen: "x" is not HOST:PORT`},
		{"--ip-command-device", "12=192.0.2.1", "--ip-command-device"},
		{"--smsc", "127.0.0.1:2775", "--smsc needs --smsc-user"},
		{"--account-rate", "=-1", "--account-rate and --account-concurrent: a number from 0"},
		{"--retry-failed-installations", "=-1", "a number from 0"},
		{"--master-key", "zz", "--master-key: "},
	} {
		data := filepath.Join(t.TempDir(), "data")
		args := []string{"serve", "--data", data, c.flag, c.value}
		if strings.HasPrefix(c.value, "=") { // as a number below zero has to be written
			args = []string{"serve", "--data", data, c.flag + c.value}
		}
		cmd := program(t.Context(), args...)
		var said strings.Builder
		cmd.Stderr = &said
		cmd.Run()
		code, problems := cmd.ProcessState.ExitCode(), said.String()
		if code != exitUsage || !strings.Contains(problems, c.want) {
			t.Errorf("%s %s: code %d, %q, want %q", c.flag, c.value, code, problems, c.want)
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("%s %s: left a data directory behind", c.flag, c.value)
		}
	}
	for _, address := range []string{"localhost", "localhost:8443", "smdp.example.com", "192.0.2.1", "192.0.2.1:8443", "2001:db8::1", "[2001:db8::1]:8443"} {
		if err := checkSMDPAddress(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestESIMTimes gives the times of work on eSIMs, which the store goes by.
func TestESIMTimes(t *testing.T) {
	y := newYard(t, "--esim-action-time", "1m", "--esim-verify-time", "2m", "--esim-operation-time", "3m", "--esim-keep-work", "4h", "--esim-keep-codes", "5h", "--poll-interval", "10m", "--esim-forget-code-carriers")
	want := device.Limits{Transaction: time.Minute, Verify: 2 * time.Minute, Operation: 3 * time.Minute, KeepWork: 4 * time.Hour, KeepCodes: 5 * time.Hour, Silent: 50 * time.Minute}
	if s := y.devices(); s.Limits != want || !s.ForgetCodes {
		t.Errorf("%+v, forgets codes: %v", s.Limits, s.ForgetCodes)
	}
}
