package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"godwit/explain"
)

func TestExplain(t *testing.T) {
	pir := "BF2722800101BF2F0A800101810207800C0161060388370AA20BA10980010581010C820101"
	for _, tt := range []struct {
		name, in       string
		words          []string
		exit           int // 0 for none
		says, complain []string
	}{
		{"status code", "", []string{"8.2.6/3.8"}, 0, []string{"matching ID refused", "who    operator", "next   Compare"}, nil},
		{"in two words", "", []string{"8.2.6", "3.8"}, 0, []string{"matching ID refused"}, nil},
		{"installation", "", []string{"PIR", "5", "12"}, 0, []string{"install 5 12: profile element refused", "godwit explain pe"}, nil},
		{"after a double dash", "", []string{"--", "12"}, 0, []string{"install 12"}, nil},
		{"API code", "", []string{"83007"}, 0, []string{"activation without a Fleet"}, nil},
		{"message in hexadecimal", "", []string{pir}, 0, []string{"BF27 ProfileInstallationResultData", "| install 5 12"}, nil},
		{"message from standard input", "vycigAEBvy8KgAEBgQIHgAwBYQYDiDcK\nogWhA4EBCQ==", []string{"-"}, exitFailed, nil, []string{"nothing is known"}},
		{"good message from standard input", "vy4A\n", []string{"-"}, 0, []string{"BF2E GetEUICCChallenge"}, nil},
		{"message cut off", "", []string{pir[:40]}, exitFailed, nil, []string{"no whole message"}},
		{"DER from standard input", "\xBF\x2E\x00", []string{"-"}, 0, []string{"BF2E GetEUICCChallenge"}, nil},
		{"nothing", "", nil, exitUsage, nil, []string{"what is to be explained"}},
		{"unknown code", "", []string{"83999"}, exitFailed, nil, []string{"perhaps", "83000"}},
		{"words", "", []string{"confirmation", "code"}, exitFailed, nil, []string{"8.2.7/3.8"}},
		{"nonsense", "", []string{strings.Repeat("zz", 200)}, exitFailed, nil, []string{"nothing is known"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, problems strings.Builder
			err := explainCommand{What: tt.words}.run(strings.NewReader(tt.in), &out, &problems)
			var code exitError
			if errors.As(err, &code); int(code) != tt.exit || (err == nil) != (tt.exit == 0) {
				t.Errorf("error %v, want exit %d", err, tt.exit)
			}
			for _, want := range tt.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			for _, want := range tt.complain {
				if !strings.Contains(problems.String(), want) {
					t.Errorf("no %q in\n%s", want, problems.String())
				}
			}
		})
	}
}

func TestExplainJSON(t *testing.T) {
	var out, problems strings.Builder
	if err := (explainCommand{What: []string{"cancel", "3", "--json"}}).run(nil, &out, &problems); err != nil {
		t.Fatal(err)
	}
	var entries []explain.Entry
	if err := json.Unmarshal([]byte(out.String()), &entries); err != nil || len(entries) != 1 || entries[0].Code != "cancel 3" {
		t.Errorf("%s: %v", out.String(), err)
	}
	out.Reset()
	if err := (explainCommand{JSON: true, What: []string{"BF2E00"}}).run(nil, &out, &problems); err != nil {
		t.Fatal(err)
	}
	var nodes []explain.Node
	if err := json.Unmarshal([]byte(out.String()), &nodes); err != nil || len(nodes) != 1 || nodes[0].Name != "GetEUICCChallenge" {
		t.Errorf("%s: %v", out.String(), err)
	}
	out.Reset()
	err := (explainCommand{JSON: true, What: []string{"83999"}}).run(nil, &out, &problems)
	var code exitError
	if !errors.As(err, &code) || code != exitFailed || !strings.Contains(out.String(), `"suggestions"`) {
		t.Errorf("%s: %v", out.String(), err)
	}
}

// TestEveryCodeOfOursIsExplained reads the sources for the codes that this
// program sends, and wants words of its own for each.
func TestEveryCodeOfOursIsExplained(t *testing.T) {
	source := func(name string) string {
		content, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	pairs := regexp.MustCompile(`StatusCode\{"([0-9.]+)", "([0-9.]+)"\}`).FindAllStringSubmatch(source("rsp/status.go"), -1)
	if len(pairs) < 40 {
		t.Fatalf("only %d status codes found", len(pairs))
	}
	for _, p := range pairs {
		if e, ok := explain.Status(p[1], p[2]); !ok || strings.Contains(e.Cause, "No function defines") {
			t.Errorf("status code %s/%s has no words of its own", p[1], p[2])
		}
	}
	codes := 0
	for _, pattern := range []string{"sim/*.go", "web/*.go", "supersim/*.go"} {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range regexp.MustCompile(`\b(20[045]\d\d|83[0-7]\d\d)\b`).FindAllString(string(content), -1) {
				codes++
				n, err := strconv.Atoi(c)
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := explain.APIError(n); !ok {
					t.Errorf("%s: code %s is not explained", file, c)
				}
			}
		}
	}
	if codes < 10 {
		t.Errorf("only %d codes of the API found", codes)
	}
}
