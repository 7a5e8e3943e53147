package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestStrangerEIMAgent has the agent, as a process of its own with a chip in a
// directory, work for a foreign eIM: it downloads from our SM-DP+ and enables, and
// the foreign eIM believes the chip.
func TestStrangerEIMAgent(t *testing.T) {
	stranger(t, "GODWIT_OPENIOTRSP_EIM", "")
	set := sgp26(t, sgp26NIST)
	p := startServerAs(t, set)
	f := startForeignEIM(t, sgp26EID, publishedPaths(t)...)
	chip := sgp26Chip(t, "nist")
	chip.IoT = true
	dir := t.TempDir()
	config, ci := filepath.Join(dir, "eim.der"), filepath.Join(dir, "ci.pem")
	for name, content := range map[string][]byte{config: f.configuration(), ci: set.Members[0].Identity.CI.PEM()} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	agent := &post{y: &yard{process: p}, args: []string{
		"--card", "euicc:" + chipIn(t, chip), "--state", filepath.Join(dir, "state"), "--ca", ci, "--eim", config, "--esipa", f.url, "--json",
	}}
	agent.must()
	iccid, code := orderOf(t, p, defaultType)
	download := f.download(sgp26EID, code)
	agent.must()
	f.wantDone(download, "")
	enable := f.queue("POST", fmt.Sprintf("/devices/%s/profiles/%x/enable", sgp26EID, iccid.Octets()), nil)
	agent.must()
	f.wantDone(enable, "enable")
	listed := f.queue("POST", fmt.Sprintf("/devices/%s/profiles/list", sgp26EID), nil)
	agent.must()
	f.wantDone(listed, "list")
	if list := f.profiles(sgp26EID); !list[fmt.Sprintf("%x", iccid.Octets())] {
		t.Errorf("the foreign eIM lists %v", list)
	}
}
