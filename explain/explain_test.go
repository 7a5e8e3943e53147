package explain

import (
	"slices"
	"strings"
	"testing"
)

// TestEveryEntryIsWhole holds every entry to its purpose: a cause in sentences,
// somebody who acts, a next step, and a code under which Find finds it again.
func TestEveryEntryIsWhole(t *testing.T) {
	people := []string{Nobody, User, DeviceMaker, Operator, Admin, EUICCMaker, Developer}
	seen := make(map[string]bool)
	for _, e := range All() {
		if e.Code == "" || e.Title == "" || e.Cause == "" || e.Next == "" || e.Clause == "" {
			t.Errorf("incomplete: %+v", e)
		}
		if !slices.Contains(people, e.Who) {
			t.Errorf("%s: %q must act, who is nobody we know", e.Code, e.Who)
		}
		for _, s := range []string{e.Cause, e.Next} {
			if !strings.HasSuffix(s, ".") {
				t.Errorf("%s: %q is no sentence", e.Code, s)
			}
		}
		if seen[e.Code] {
			t.Errorf("%s occurs twice", e.Code)
		}
		seen[e.Code] = true
		if !slices.Contains(Find(e.Code), e) {
			t.Errorf("Find(%q) = %v", e.Code, Find(e.Code))
		}
	}
	if len(seen) < 250 {
		t.Errorf("only %d entries", len(seen))
	}
}

// TestEveryCombination: any subject with any reason has words.
func TestEveryCombination(t *testing.T) {
	for _, s := range subjects {
		for _, r := range reasons {
			e, ok := Status(s.code, r.code)
			if !ok || e.Cause == "" || e.Who == "" || e.Next == "" || e.Code != s.code+"/"+r.code {
				t.Errorf("%s/%s: %+v", s.code, r.code, e)
			}
		}
	}
	for _, code := range [][2]string{{"8.2.6", "9.9"}, {"9.9", "3.8"}, {"", ""}, {"3.8", "8.2.6"}} {
		if e, ok := Status(code[0], code[1]); ok {
			t.Errorf("%s/%s explained as %+v", code[0], code[1], e)
		}
	}
	for _, p := range pairs {
		subject, reason, ok := strings.Cut(p.code, "/")
		if !ok || find(subjects, subject) == nil || find(reasons, reason) == nil {
			t.Errorf("%s is made of unknown halves", p.code)
		}
	}
}

func TestLookups(t *testing.T) {
	for _, tt := range []struct {
		name  string
		e     Entry
		ok    bool
		title string
	}{
		{"AuthenticateServer 6", first(AuthenticateError(6)), true, "challenge does not match"},
		{"PrepareDownload 2", first(DownloadError(2)), true, "server signature invalid"},
		{"cancel 3", first(CancelReason(3)), true, "policy rules not allowed"},
		{"install 5 12", first(InstallError(5, 12)), true, "profile element refused"},
		{"pe 9", first(PEStatus(9)), true, "template not supported"},
		{"pe 6A82", first(PEStatus(0x6A82)), true, "card status 6A82"},
		{"pe of a maker", first(PEStatus(0xB000)), true, "a maker's own status"},
		{"enable 2", first(ES10("EnableProfile", 2)), true, "not disabled"},
		{"delete 127", first(ES10("delete", 127)), true, "undefined error"},
		{"disable 0", first(ES10("disable", 0)), true, "done"},
		{"list has no success", first(ES10("profiles", 0)), false, ""},
		{"an eIM's function", first(ESipa("InitiateAuthentication", 52)), true, "order unknown"},
		{"an eIM's function without a reason", first(ESipa("AuthenticateClient", 127)), true, "undefined error"},
		{"an eIM's function that ES10 has too", first(ESipa("GetEimPackage", 2)), true, "EID unknown"},
		{"API", first(APIError(83007)), true, "activation without a Fleet"},
		{"6985", first(StatusWord(0x6985)), true, "wrong state"},
		{"9123", first(StatusWord(0x9123)), true, "done, with a proactive command"},
		{"6123", first(StatusWord(0x6123)), true, "more to fetch"},
		{"unknown function", first(ES10("fly", 1)), false, ""},
		{"unknown number", first(AuthenticateError(99)), false, ""},
		{"unknown command", first(InstallError(9, 12)), false, ""},
		{"unknown API", first(APIError(1)), false, ""},
	} {
		if (tt.e.Title != "") != tt.ok || tt.e.Title != tt.title {
			t.Errorf("%s: %+v, want %q", tt.name, tt.e, tt.title)
		}
	}
	if e, _ := InstallError(5, 12); e.Code != "install 5 12" || !strings.Contains(e.Cause, "at the profile elements") {
		t.Errorf("with a command: %+v", e)
	}
}

// TestESipaIsWhole: what an eIM's functions answer is not found by a code, so
// that its entries are no part of [All].
func TestESipaIsWhole(t *testing.T) {
	for _, f := range esipaFunctions {
		for _, r := range f.results {
			if e, ok := ESipa(f.full, r.n); !ok || e.Title == "" || e.Clause == "" || !strings.HasSuffix(e.Cause, ".") || !strings.HasSuffix(e.Next, ".") {
				t.Errorf("%s %d: %+v, %v", f.full, r.n, e, ok)
			}
		}
	}
}

func first(e Entry, ok bool) Entry {
	if !ok {
		return Entry{}
	}
	return e
}

func TestFind(t *testing.T) {
	for _, tt := range []struct{ text, code string }{
		{"8.2.6/3.8", "8.2.6/3.8"},
		{" 8.2.6 3.8 ", "8.2.6/3.8"},
		{"subject 8.2.6 reason 3.8", "8.2.6/3.8"},
		{`{"subjectCode":"8.2.6","reasonCode":"3.8"}`, "8.2.6/3.8"},
		{"3.8/8.2.6", "8.2.6/3.8"},
		{"8.8.3/5.1", "8.8.3/5.1"},
		{"8.10.1", "subject 8.10.1"},
		{"3.8", "reason 3.8"},
		{"reason 4", "reason 4"},
		{"83007", "83007"},
		{"error 83007", "83007"},
		{"20404", "20404"},
		{"PIR 4 9", "install 4 9"},
		{"4 9", "install 4 9"},
		{"install 9", "install 9"},
		{"install error 9", "install 9"},
		{"errorReason: 9 install", "install 9"},
		{"authenticate 6", "authenticate 6"},
		{"AuthenticateServer error 6", "authenticate 6"},
		{"PrepareDownload 2", "download 2"},
		{"cancel 3", "cancel 3"},
		{"cancel reason 3", "cancel 3"},
		{"pe 9", "pe 9"},
		{"PEStatus=9", "pe 9"},
		{"pe 0x6a82", "pe 27266"},
		{"EnableProfile 2", "enable 2"},
		{"es9 initiate 1", "es9 initiate 1"},
		{"6A88", "6A88"},
		{"sw 6a88", "6A88"},
		{"sw 6985", "6985"},
		{"6985", "6985"},
		{"9", "install 9"},
		{"pprNotAllowed", "cancel 3"},
		{"install_failed_due_to_insufficient_memory_for_profile", "install 10"},
		{"installFailedDueToIccidAlreadyExistsOnEuicc(9)", "install 9"},
		{"template-not-supported", "pe 9"},
	} {
		found := Find(tt.text)
		if len(found) == 0 || found[0].Code != tt.code {
			t.Errorf("Find(%q) = %v, want %s first", tt.text, found, tt.code)
		}
	}
	for _, text := range []string{"", "hello", "8.2.99/3.8", "install", "install 1 2 3", "12 99", "fly 3", "99999", "...", "1.", "pe", "sw zzzz", "-1"} {
		if found := Find(text); len(found) != 0 {
			t.Errorf("Find(%q) = %v, want nothing", text, found)
		}
	}
}

// TestSymbols holds every name to a code that exists, and every reason of an
// installation to a name.
func TestSymbols(t *testing.T) {
	named := make(map[string]bool)
	for name, codes := range symbols() {
		for _, code := range codes {
			if found := Find(code); len(found) != 1 || found[0].Code != code {
				t.Errorf("%s stands for %q, which means %v", name, code, found)
			}
			named[code] = true
		}
		if len(Find(name)) != len(codes) {
			t.Errorf("Find(%q) = %v, want %v", name, Find(name), codes)
		}
	}
	for prefix, table := range map[string][]row{"install": installErrors, "pe": peStatuses[1:], "authenticate": authenticateErrors[:7], "download": downloadErrors[:5]} {
		for _, r := range table {
			if e := r.entry(prefix); !named[e.Code] {
				t.Errorf("%s has no name", e.Code)
			}
		}
	}
}

func TestSuggest(t *testing.T) {
	for _, tt := range []struct{ text, code string }{
		{"confirmation code", "8.2.7/3.8"},
		{"fleet", "83006"},
		{"8.2.7", "8.2.7/2.2"},
		{"83999", "83000"},
	} {
		var codes []string
		for _, e := range Suggest(tt.text, 12) {
			codes = append(codes, e.Code)
		}
		if !slices.Contains(codes, tt.code) {
			t.Errorf("Suggest(%q) = %v, want %s among them", tt.text, codes, tt.code)
		}
	}
	if got := Suggest("zzzz", 5); len(got) != 0 {
		t.Errorf("suggestions for nonsense: %v", got)
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"8.2.6/3.8", "83007", "PIR 4 9", "pe 0x6a82", "sw 6985", "6A88"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, e := range Find(text) {
			if e.Code == "" || e.Cause == "" {
				t.Errorf("Find(%q) gives %+v", text, e)
			}
		}
	})
}
