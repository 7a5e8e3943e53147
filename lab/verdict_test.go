package lab

import (
	"slices"
	"testing"
	"time"

	"godwit/ident"
)

const (
	eidA   ident.EID   = "89049032000000000000000000000101"
	eidB   ident.EID   = "89049032000000000000000000000202"
	iccid1 ident.ICCID = "8999701000000000001"
	iccid2 ident.ICCID = "8999701000000000002"
)

// good is a device on which everything went well: one profile was downloaded and
// enabled, another one downloaded and deleted.
func good() Evidence {
	at := func(n int) time.Time { return time.Unix(int64(1000+n), 0) }
	return Evidence{
		Witnesses: []Witness{{
			EID: eidA, Name: "a", Held: []Held{{iccid1, true}}, Installed: []ident.ICCID{iccid1, iccid2}, Enabled: []ident.ICCID{iccid1}, Posts: 3,
		}},
		Operations: []Operation{{ID: "o", Operation: "activate", Status: "successful", EID: eidA, ICCID: iccid1, DownloadTx: "1", EnableTx: "2"}},
		Transactions: []Transaction{
			{ID: "1", Action: "download", Status: "complete", EID: eidA, ICCID: iccid1, Created: at(1)},
			{ID: "2", Action: "enable", Status: "complete", EID: eidA, ICCID: iccid1, Created: at(2)},
			{ID: "3", Action: "download", Status: "complete", EID: eidA, ICCID: iccid2, Created: at(3)},
			{ID: "4", Action: "delete", Status: "complete", EID: eidA, ICCID: iccid2, Created: at(4)},
		},
		Profiles: []ProfileRecord{{ICCID: iccid1, EID: eidA, Status: "active"}, {ICCID: iccid2, EID: "of somebody else"}},
	}
}

// TestJudge: a server that did everything well is not charged, and each thing that
// can be wrong is charged under its rule.
func TestJudge(t *testing.T) {
	if v := Judge(good()); len(v.Violations) > 0 || v.Profiles != 1 || v.Installed != 2 {
		t.Fatalf("%+v", v)
	}
	rolled := good() // complete, and rolled back: the answer of the eIM was lost
	rolled.Witnesses[0].Held[0].Enabled, rolled.Profiles[0].Status = false, "inactive"
	rolled.Witnesses[0].Back = []string{"2"}
	if v := Judge(rolled); len(v.Violations) > 0 {
		t.Errorf("rolled back: %v", v.Violations)
	}
	liar := Evidence{
		Witnesses:    []Witness{{EID: eidA, Hopeless: true, Posts: 2}},
		Transactions: []Transaction{{ID: "1", Status: "unknown", EID: eidA}, {ID: "2", Status: "in_progress", EID: eidA, Updated: time.Unix(1000, 0)}},
		Now:          time.Unix(1500, 0), Limit: 1000 * time.Second,
	}
	if v := Judge(liar); len(v.Violations) > 0 || v.Waiting != 1 {
		t.Errorf("before the time limit: %+v", v)
	}
	liar.Now = time.Unix(2500, 0)
	if v := Judge(liar); len(v.Violations) != 1 || v.Violations[0].Rule != RuleEnds {
		t.Errorf("after the time limit: %+v", v)
	}
	for _, c := range []struct {
		what, rule string
		spoil      func(*Evidence)
	}{
		{"a transaction that does not end", RuleEnds, func(e *Evidence) { e.Transactions[3].Status = "in_progress" }},
		{"one of which nobody knows", RuleEnds, func(e *Evidence) { e.Transactions[3].Status = "unknown" }},
		{"an operation that does not end", RuleEnds, func(e *Evidence) { e.Operations[0].Status = "enable_verify" }},
		{"a download that the chip knows nothing of", RuleTrue, func(e *Evidence) { e.Witnesses[0].Installed = []ident.ICCID{iccid1} }},
		{"a download that is said to have failed", RuleTrue, func(e *Evidence) { e.Transactions[2].Status = "failed" }},
		{"an enable that never was", RuleTrue, func(e *Evidence) { e.Witnesses[0].Enabled = nil }},
		{"a profile that was deleted and is there", RuleTrue, func(e *Evidence) {
			e.Witnesses[0].Held = append(e.Witnesses[0].Held, Held{iccid2, false})
			e.Profiles[1] = ProfileRecord{ICCID: iccid2, EID: eidA, Status: "inactive"}
		}},
		{"a delete that is said to have failed", RuleTrue, func(e *Evidence) { e.Transactions[3].Status = "failed" }},
		{"a profile from nowhere", RuleTrue, func(e *Evidence) { e.Transactions = e.Transactions[:2] }},
		{"a last change that the chip does not show", RuleTrue, func(e *Evidence) {
			e.Witnesses[0].Held[0].Enabled, e.Profiles[0].Status = false, "inactive"
		}},
		{"an operation whose step failed", RuleTrue, func(e *Evidence) { e.Transactions[1].Status = "failed" }},
		{"an operation whose step is none", RuleTrue, func(e *Evidence) { e.Operations[0].EnableTx, e.Witnesses[0].Posts = "9", 4 }},
		{"a package that was executed twice", RuleOnce, func(e *Evidence) { e.Witnesses[0].Twice = []string{"2"} }},
		{"one request too few for what came of it", RuleOnce, func(e *Evidence) { e.Witnesses[0].Posts = 2 }},
		{"a profile that was installed twice", RuleOnce, func(e *Evidence) {
			e.Witnesses[0].Installed = append(e.Witnesses[0].Installed, iccid1)
		}},
		{"a profile that another device has too", RuleOnce, func(e *Evidence) {
			e.Witnesses = append(e.Witnesses, Witness{EID: eidB, Name: "b", Installed: []ident.ICCID{iccid2}, Held: []Held{{iccid2, false}}, Posts: 1})
			e.Transactions = append(e.Transactions, Transaction{ID: "5", Action: "download", Status: "complete", EID: eidB, ICCID: iccid2})
			e.Profiles[1] = ProfileRecord{ICCID: iccid2, EID: eidB, Status: "inactive"}
		}},
		{"a record that is missing", RuleRecords, func(e *Evidence) { e.Profiles = nil }},
		{"a record with another status", RuleRecords, func(e *Evidence) { e.Profiles[0].Status = "inactive" }},
		{"a chip that is believed and may not be", RuleBelieved, func(e *Evidence) { e.Witnesses[0].Hopeless = true }},
	} {
		e := good()
		c.spoil(&e)
		v := Judge(e)
		if !slices.ContainsFunc(v.Violations, func(v Violation) bool { return v.Rule == c.rule }) {
			t.Errorf("%s is not charged: %v", c.what, v.Violations)
		}
		for _, charged := range v.Violations {
			if charged.Rule != c.rule && c.rule != RuleBelieved {
				t.Errorf("%s is charged as %q too: %s", c.what, charged.Rule, charged.What)
			}
		}
	}
}
