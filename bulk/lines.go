package bulk

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
)

// A Line is what one line of an order asks for: a profile for one eUICC, or a
// number of profiles for whichever eUICCs show their codes.
type Line struct {
	Number int    // of the line in the file, from 1; 0 where there is no file
	EID    string // 32 digits; Count is 1 then
	Count  int64
	Type   string // profile type, the order's if empty
	Label  string // the customer's own words, for the result
}

// A Lines reads an order's lines one after the other. Next returns io.EOF at
// the end, a [*Problem] for a line that is refused (reading goes on behind it),
// and any other error when reading cannot go on.
type Lines interface {
	Next() (Line, error)
}

// A Problem is what is wrong with one line.
type Problem struct {
	Line   int
	Column string // empty when it is about the whole line
	Text   string
}

func (p *Problem) Error() string {
	if p.Column == "" {
		return fmt.Sprintf("line %d: %s", p.Line, p.Text)
	}
	return fmt.Sprintf("line %d, %s: %s", p.Line, p.Column, p.Text)
}

// Limits of an order.
const (
	MaxItems = 1_000_000
	maxLabel = 255 // characters
	maxType  = 100
)

// Count asks for n profiles that any eUICC may fetch, without a file.
func Count(n int64) Lines { return &one{Line{Count: n}, false} }

type one struct {
	line Line
	read bool
}

func (o *one) Next() (Line, error) {
	if o.read {
		return Line{}, io.EOF
	}
	o.read = true
	return o.line, nil
}

// columns are what a file may have. A file without a header has EIDs in its
// first column and nothing else.
var columns = []string{"eid", "count", "profile_type", "label"}

// CSV reads a file with a header that names its columns: eid, count,
// profile_type, label, in any order and letter case. Columns are divided by
// commas, semicolons or tabs, as spreadsheets write them. Lines that are empty
// or begin with # are passed over.
func CSV(r io.Reader) Lines { return &table{raw: r} }

type table struct {
	raw   io.Reader
	csv   *csv.Reader
	place map[string]int // column → index
	width int            // columns of the header, with those that have no name
	kept  []string       // first record of a file without a header
}

func (t *table) Next() (Line, error) {
	if t.csv == nil {
		if err := t.open(); err != nil {
			return Line{}, err
		}
	}
	for {
		record := t.kept
		if t.kept = nil; record == nil {
			var err error
			if record, err = t.csv.Read(); err != nil {
				return Line{}, t.trouble(err)
			}
		}
		number, _ := t.csv.FieldPos(0)
		if strings.TrimSpace(strings.Join(record, "")) == "" {
			continue
		}
		return t.parse(number, record)
	}
}

// trouble tells a line that is no CSV from a file that cannot be read.
func (t *table) trouble(err error) error {
	if bad, ok := errors.AsType[*csv.ParseError](err); ok {
		return &Problem{Line: bad.StartLine, Text: "is not well-formed CSV: " + bad.Err.Error()}
	}
	return err
}

// open reads the header.
func (t *table) open() error {
	head := &firstLine{r: t.raw}
	line, err := head.read()
	if err != nil {
		return err
	}
	t.csv = csv.NewReader(io.MultiReader(strings.NewReader(line), t.raw))
	header := strings.TrimRight(line, "\r\n ")
	t.csv.Comma = divider(header[strings.LastIndexByte(header, '\n')+1:])
	t.csv.Comment = '#'
	t.csv.FieldsPerRecord = -1
	t.csv.TrimLeadingSpace = true
	var record []string
	for strings.TrimSpace(strings.Join(record, "")) == "" { // lines of blanks are passed over, here too
		record, err = t.csv.Read()
		if errors.Is(err, io.EOF) {
			return fault.Field("File", "is empty: it needs at least one line")
		}
		if err != nil {
			return t.trouble(err)
		}
	}
	if first := strings.TrimSpace(record[0]); first != "" && strings.Trim(first, "0123456789") == "" {
		t.place, t.width, t.kept = map[string]int{"eid": 0}, 1, record
		return nil
	}
	if !areText(record) {
		return fault.Field("File", "has a header that is not text in UTF-8")
	}
	t.place, t.width = map[string]int{}, len(record)
	for i, name := range record {
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "" {
			continue
		}
		if _, twice := t.place[name]; twice {
			return fault.Field("File", "names column %.40q twice in its header", name)
		}
		known := false
		for _, c := range columns {
			known = known || c == name
		}
		if !known {
			return fault.Field("File", "has a column %.40q in its header; columns are %s", name, strings.Join(columns, ", "))
		}
		t.place[name] = i
	}
	_, eid := t.place["eid"]
	_, count := t.place["count"]
	if !eid && !count {
		return fault.Field("File", "has neither a column eid nor a column count in its header")
	}
	return nil
}

// divider guesses what divides columns from the first line.
func divider(line string) rune {
	best, most := ',', strings.Count(line, ",")
	for _, r := range ";\t" {
		if n := strings.Count(line, string(r)); n > most {
			best, most = r, n
		}
	}
	return best
}

func (t *table) cell(record []string, column string) string {
	i, ok := t.place[column]
	if !ok || i >= len(record) {
		return ""
	}
	return strings.TrimSpace(record[i])
}

func areText(record []string) bool {
	return !slices.ContainsFunc(record, func(cell string) bool { return !db.IsText(cell) })
}

func (t *table) parse(number int, record []string) (Line, error) {
	refuse := func(column, format string, args ...any) (Line, error) {
		return Line{}, &Problem{number, column, fmt.Sprintf(format, args...)}
	}
	if !areText(record) {
		return refuse("", "is not text in UTF-8")
	}
	if len(record) > t.width && strings.TrimSpace(strings.Join(record[t.width:], "")) != "" {
		return refuse("", "has %d columns, the header %d", len(record), t.width)
	}
	l := Line{Number: number, EID: t.cell(record, "eid"), Type: t.cell(record, "profile_type"), Label: t.cell(record, "label"), Count: 1}
	if l.EID != "" {
		if err := ident.EIDForm(l.EID); err != nil {
			return refuse("eid", "must be 32 decimal digits, not %.60q", l.EID)
		}
	}
	if text := t.cell(record, "count"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || n < 1 || n > MaxItems:
			return refuse("count", "must be a whole number from 1 to %d, not %.40q", MaxItems, text)
		case l.EID != "" && n != 1:
			return refuse("count", "must be 1, or empty, in a line with an eid: each eUICC gets one profile")
		}
		l.Count = n
	} else if l.EID == "" {
		return refuse("", "has neither eid nor count")
	}
	if utf8.RuneCountInString(l.Label) > maxLabel {
		return refuse("label", "must have at most %d characters", maxLabel)
	}
	if utf8.RuneCountInString(l.Type) > maxType {
		return refuse("profile_type", "must have at most %d characters", maxType)
	}
	return l, nil
}

// firstLine reads up to and with the first line that is neither empty nor a
// comment, octet by octet: what follows is left to the CSV reader.
type firstLine struct{ r io.Reader }

// maxHeader is the longest first line.
const maxHeader = 4096

func (f *firstLine) read() (string, error) {
	var all, line []byte
	var octet [1]byte
	for len(all) < maxHeader {
		n, err := f.r.Read(octet[:])
		if n == 1 {
			all, line = append(all, octet[0]), append(line, octet[0])
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if errors.Is(err, io.EOF) || n == 1 && octet[0] == '\n' {
			text := strings.TrimSpace(strings.TrimPrefix(string(line), byteOrderMark))
			if errors.Is(err, io.EOF) || text != "" && text[0] != '#' {
				return strings.TrimPrefix(string(all), byteOrderMark), nil
			}
			line = nil
		}
	}
	return "", fault.Field("File", "does not begin with a header: its first line has more than %d octets", maxHeader)
}

const byteOrderMark = "\ufeff" // Excel puts it in front of UTF-8

// A piece is the part of a line that falls into one chunk, as it is stored.
type piece struct {
	Line  int    `json:"l"`
	EID   string `json:"e,omitempty"`
	Count int64  `json:"n,omitempty"` // 0 means 1
	Type  string `json:"t,omitempty"`
	Label string `json:"b,omitempty"`
}

func (p piece) count() int64 { return max(p.Count, 1) }

func readPieces(text string) (list []piece, err error) {
	if err = json.Unmarshal([]byte(text), &list); err != nil {
		err = fmt.Errorf("read lines: %w", err)
	}
	return list, err
}
