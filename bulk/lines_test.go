package bulk

import (
	"errors"
	"io"
	"strings"
	"testing"
)

const eid = "89049032123451234512345678901235"

func readLines(t *testing.T, text string) (lines []Line, problems []Problem, err error) {
	t.Helper()
	all := CSV(strings.NewReader(text))
	for range 1000 {
		l, err := all.Next()
		if errors.Is(err, io.EOF) {
			return lines, problems, nil
		}
		if p, ok := errors.AsType[*Problem](err); ok {
			problems = append(problems, *p)
			continue
		}
		if err != nil {
			return lines, problems, err
		}
		lines = append(lines, l)
	}
	t.Fatalf("no end of %q", text)
	return nil, nil, nil
}

func TestCSV(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Line
	}{
		{"a header", "eid,label\n" + eid + ",gate 7\n", Line{Number: 2, EID: eid, Count: 1, Label: "gate 7"}},
		{"semicolons and a byte order mark", "\ufeffLabel;EID\r\nx;" + eid + "\r\n", Line{Number: 2, EID: eid, Count: 1, Label: "x"}},
		{"tabs", "count\tprofile_type\n20\tlte\n", Line{Number: 2, Count: 20, Type: "lte"}},
		{"no header", eid, Line{Number: 1, EID: eid, Count: 1}},
		{"lines of blanks before the header", " \t\n \n\"\"\n eid , label \n" + eid + ",x\n", Line{Number: 5, EID: eid, Count: 1, Label: "x"}},
		{"a column without a name", "eid,,label\n" + eid + ",,x\n", Line{Number: 2, EID: eid, Count: 1, Label: "x"}},
		{"comments and empty lines", "# ours\n\neid\n\n# one\n" + eid + "\n", Line{Number: 6, EID: eid, Count: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, problems, err := readLines(t, tt.text)
			if err != nil || len(problems) > 0 || len(lines) != 1 || lines[0] != tt.want {
				t.Errorf("%+v, %v, %v; want %+v", lines, problems, err, tt.want)
			}
		})
	}
}

func TestRefusedLines(t *testing.T) {
	for _, tt := range []struct{ name, text, column, words string }{
		{"an EID that is too short", "eid\n123\n", "eid", "32 decimal digits"},
		{"a count of none", "count\n0\n", "count", "whole number"},
		{"a count with an EID", "eid,count\n" + eid + ",2\n", "count", "must be 1"},
		{"nothing asked for", "eid,label\n,x\n", "", "neither eid nor count"},
		{"a quote that does not end", "eid\n\"" + eid + "\n", "", "well-formed"},
		{"too many columns", "eid\n" + eid + ",x\n", "", "columns"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, problems, err := readLines(t, tt.text)
			if err != nil || len(lines) > 0 || len(problems) != 1 || problems[0].Column != tt.column || !strings.Contains(problems[0].Text, tt.words) {
				t.Errorf("%+v, %+v, %v", lines, problems, err)
			}
		})
	}
	for _, text := range []string{"", "eid,eid\n", "eid,colour\n", "label\nx\n", strings.Repeat("x", 5000)} {
		if lines, problems, err := readLines(t, text); err == nil {
			t.Errorf("%.20q was read: %v, %v", text, lines, problems)
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add("eid,count,profile_type,label\n" + eid + ",1,t,l\n")
	f.Add(eid + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		all := CSV(strings.NewReader(text))
		for range len(text) + 2 {
			l, err := all.Next()
			if err == nil && (l.Count < 1 || l.Count > MaxItems || l.EID != "" && l.Count != 1) {
				t.Fatalf("line %+v", l)
			}
			if _, bad := errors.AsType[*Problem](err); err != nil && !bad {
				return
			}
		}
		t.Fatal("it does not end")
	})
}
