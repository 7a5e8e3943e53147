// Package letter plays golden exchanges in tests: a letter is a text that says,
// part by part, what is asked of a server and what is answered.
//
//	-- request --              a method and a path, headers, an empty line, a body
//	-- response 200 --         the answer, compared as JSON; nothing for an empty one
//	-- response 200 soon --    the same request again until it is answered so
//	-- file text/csv --        the answer is a file of this kind, compared line by line
//	-- note --                 for people, like what stands before the first part
//
// In an answer "<name>" keeps what stands there and demands the same the next
// time, in requests too; "<time>" is a date and time, "<moment>" one with
// milliseconds, "<any>" any text. A name that begins with number_ stands for a
// number. All other parts are a suite's own.
package letter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
)

// A Reader plays letters to one server.
type Reader struct {
	T         *testing.T
	URL       string            // where the server is
	PublicURL string            // under which address the letters know it; may be empty
	Words     map[string]string // what <name> stands for
	// Sign gives a request the credentials and the content type that it has
	// unless the letter says otherwise.
	Sign func(q *http.Request, body string)
	// Documents are what answers are held against; some may be nil.
	Documents []*Document
	// Part plays a part that is the suite's own, and reports whether it knows it.
	Part func(title []string, body string) bool

	request string
	line    int
}

var heading = regexp.MustCompile(`^-- (.*) --$`)

// Play plays every letter in the folder testdata, each on both engines and with
// a reader of its own.
func Play(t *testing.T, open func(t *testing.T, d *db.DB) *Reader) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no letters: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dbtest.Each(t, func(t *testing.T, d *db.DB) { open(t, d).play(string(text)) })
		})
	}
}

// play goes through a letter part by part.
func (r *Reader) play(letter string) {
	var title string
	var body []string
	started := 0
	for i, line := range append(strings.Split(letter, "\n"), "-- end --") {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			body = append(body, line)
			continue
		}
		r.line = started
		r.part(strings.Fields(title), strings.TrimSpace(strings.Join(body, "\n")))
		title, body, started = m[1], nil, i+1
	}
}

func (r *Reader) part(title []string, body string) {
	if len(title) == 0 {
		return // what stands before the first heading is for people
	}
	switch title[0] {
	case "note":
	case "request":
		r.request = body
	case "response":
		status, err := strconv.Atoi(title[1])
		if err != nil {
			r.Fatalf("%v", err)
		}
		r.response(status, body, len(title) > 2)
	case "file":
		r.file(title[1], body)
	default:
		if r.Part == nil || !r.Part(title, body) {
			r.Fatalf("unknown part %q", title)
		}
	}
}

// Fatalf ends the test with the line of the letter.
func (r *Reader) Fatalf(format string, args ...any) {
	r.T.Helper()
	r.T.Fatalf("line %d: %s", r.line, fmt.Sprintf(format, args...))
}

// Fill puts the words in their places.
func (r *Reader) Fill(text string) string {
	for name, value := range r.Words {
		text = strings.ReplaceAll(text, "<"+name+">", value)
	}
	return text
}

// response sends the request and compares the answer.
func (r *Reader) response(status int, want string, soon bool) {
	late := time.Now().Add(2 * time.Minute)
	for {
		got, kind, answer := r.send()
		problem := ""
		if got != http.StatusNoContent && !strings.HasPrefix(kind, "application/json") {
			r.Fatalf("content type %q", kind)
		}
		if got != status {
			problem = fmt.Sprintf("status %d, want %d: %s", got, status, answer)
		} else if want == "" {
			if len(answer) > 0 {
				problem = fmt.Sprintf("an answer where none is due: %s", answer)
			}
		} else {
			problem = r.compare(answer, want)
		}
		if problem == "" {
			return
		}
		if !soon || time.Now().After(late) {
			r.Fatalf("%s", problem)
		}
	}
}

// send sends the request over real HTTP and has the answer checked against the
// vendor's document.
func (r *Reader) send() (status int, kind string, answer []byte) {
	head, body, _ := strings.Cut(r.Fill(r.request), "\n\n")
	lines := strings.Split(head, "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	target = strings.TrimPrefix(target, r.PublicURL)
	q, err := http.NewRequestWithContext(context.Background(), method, r.URL+target, strings.NewReader(strings.TrimSpace(body)))
	if err != nil {
		r.Fatalf("%v", err)
	}
	r.Sign(q, strings.TrimSpace(body))
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if q.Header.Del(name); value != "" {
			q.Header.Set(name, strings.TrimSpace(value))
		}
	}
	a, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		r.Fatalf("%v", err)
	}
	defer a.Body.Close()
	if answer, err = io.ReadAll(a.Body); err != nil {
		r.Fatalf("%v", err)
	}
	for _, d := range r.Documents {
		if err := d.answer(q, a, answer); err != nil {
			r.Fatalf("the vendor's document does not allow this answer: %v\n%s", err, answer)
		}
	}
	return a.StatusCode, a.Header.Get("Content-Type"), answer
}

// file sends the request and compares a file with what the letter says.
func (r *Reader) file(kind, want string) {
	status, got, answer := r.send()
	if media, _, _ := strings.Cut(got, ";"); status != http.StatusOK || media != kind {
		r.Fatalf("status %d, content type %q: %.500s", status, got, answer)
	}
	lines, wanted := strings.Split(strings.TrimSpace(string(answer)), "\n"), strings.Split(want, "\n")
	for i, line := range lines {
		found := map[string]string{}
		if i >= len(wanted) || !r.Match(line, wanted[i], found) {
			r.Fatalf("line %d of the file is not as in the letter: %s", i+1, line)
		}
		maps.Copy(r.Words, found)
	}
	if len(lines) != len(wanted) {
		r.Fatalf("the file has %d lines, want %d", len(lines), len(wanted))
	}
}

// compare compares an answer with what the letter says, and returns the
// difference.
func (r *Reader) compare(answer []byte, want string) string {
	var a, w any
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Sprintf("the answer is no JSON: %v: %s", err, answer)
	}
	if err := json.Unmarshal([]byte(r.Fill(want)), &w); err != nil { // words may stand for numbers
		r.Fatalf("the letter is no JSON: %v", err)
	}
	found := map[string]string{}
	if problem := r.same("answer", a, w, found); problem != "" {
		var pretty bytes.Buffer
		_ = json.Indent(&pretty, answer, "", "  ") // it was read as JSON above
		return problem + "\n" + pretty.String()
	}
	maps.Copy(r.Words, found)
	return ""
}

var (
	word    = regexp.MustCompile(`<[a-z0-9_]+>`)
	moment  = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	instant = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
)

func (r *Reader) same(at string, got, want any, found map[string]string) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is no object: %v", at, got)
		}
		for name := range g {
			if _, ok := w[name]; !ok {
				return fmt.Sprintf("%s has %s, which is not in the letter", at, name)
			}
		}
		for name := range w {
			if _, ok := g[name]; !ok {
				return fmt.Sprintf("%s lacks %s", at, name)
			}
			if problem := r.same(at+"."+name, g[name], w[name], found); problem != "" {
				return problem
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is not a list of %d: %v", at, len(w), got)
		}
		for i := range w {
			if problem := r.same(fmt.Sprintf("%s[%d]", at, i), g[i], w[i], found); problem != "" {
				return problem
			}
		}
		return ""
	case string:
		g, ok := got.(string)
		if n, isNumber := got.(float64); isNumber && strings.HasPrefix(w, "<number_") {
			g, ok = strconv.FormatFloat(n, 'f', -1, 64), true
		}
		if ok && r.Match(g, w, found) {
			return ""
		}
	default:
		if got == want {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, want %v", at, got, want)
}

// Match compares texts with words in them, and puts those that were new into
// found.
func (r *Reader) Match(got, want string, found map[string]string) bool {
	pattern, names := "^", []string{}
	for {
		at := word.FindStringIndex(want)
		if at == nil {
			break
		}
		name := want[at[0]+1 : at[1]-1]
		pattern += regexp.QuoteMeta(want[:at[0]])
		value, known := r.Words[name]
		if !known {
			value, known = found[name]
		}
		if known {
			pattern += regexp.QuoteMeta(value)
		} else {
			pattern += "(.+)"
			names = append(names, name)
		}
		want = want[at[1]:]
	}
	m := regexp.MustCompile(pattern + regexp.QuoteMeta(want) + "$").FindStringSubmatch(got)
	if m == nil {
		return false
	}
	for i, name := range names {
		switch name {
		case "any":
		case "moment":
			if !moment.MatchString(m[i+1]) {
				return false
			}
		case "time":
			if !instant.MatchString(m[i+1]) {
				return false
			}
		default:
			found[name] = m[i+1]
		}
	}
	return true
}
