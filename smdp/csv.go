package smdp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"godwit/fault"
	"godwit/ident"
	"godwit/saip"
)

// CSVColumns are the names that the head of a stock file may carry, with what
// they hold. Letter case, spaces and underscores in them do not matter.
var CSVColumns = []struct{ Name, Meaning string }{
	{"iccid", "19 or 20 digits with their check digit; required"},
	{"imsi", "6 to 15 digits; required"},
	{"k", "32 hexadecimal digits (64 are possible with TUAK); required"},
	{"opc", "32 hexadecimal digits; required with Milenage"},
	{"topc", "64 hexadecimal digits; makes the profile's algorithm TUAK"},
	{"type", "profile type; required unless one is given for the whole file"},
	{"msisdn", "telephone number"},
	{"pin1", "4 to 8 digits; the template's when empty"},
	{"puk1", "8 digits; made up when empty"},
	{"pin2", "4 to 8 digits; the template's when empty"},
	{"puk2", "8 digits; made up when empty"},
	{"adm1", "4 to 8 digits or 16 hexadecimal digits; made up when empty"},
	{"adm2", "4 to 8 digits or 16 hexadecimal digits"},
	{"acc", "access class bits, 4 hexadecimal digits; from the IMSI when empty"},
	{"spn", "service provider name in the SIM"},
	{"smsc", "service centre address"},
	{"routing", "5G routing indicator, 1 to 4 digits"},
	{"seq", "initial sequence number, decimal"},
}

// ImportOptions are choices for one stock file.
type ImportOptions struct {
	Type   string // of lines that name none
	Owner  string // operator whose stock it is; "" is anybody's
	Source string // name of the file, for the record
	// Checked and Stored hear how many lines have been dealt with in the first and in the
	// second pass; both may be nil.
	Checked func(lines int)
	Stored  func(lines int)
}

// ImportCSV brings a file of profiles into stock. The first pass reads the whole
// file and names every bad line; only a file without any is stored. After a crash in between
// nothing of the file is there. It returns how many profiles came into stock;
// a [*LoadError] lists what is wrong.
func (s *Server) ImportCSV(ctx context.Context, file io.ReadSeeker, o ImportOptions) (int, error) {
	if o.Checked == nil {
		o.Checked = func(int) {}
	}
	// The numbers of all lines, ten octets each, so that doubles are found
	// without keeping a million strings.
	var seen []lineNumber
	var problems LoadError
	types := map[string]*loadedType{}
	err := eachLine(file, o.Type, func(item Item, problem error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if problem != nil {
			problems.add(item.line, "%v", problem)
			return nil
		}
		t, asked := types[item.Type]
		if !asked {
			var err error
			if t, err = s.loadType(ctx, item.Type); err != nil && !errors.Is(err, errNoType) {
				return err
			}
			types[item.Type] = t
		}
		if t == nil {
			problems.add(item.line, "there is no profile type %q", item.Type)
			return nil
		}
		if err := t.checkPersonal(&item.Personal); err != nil {
			problems.add(item.line, "%v", err)
			return nil
		}
		seen = append(seen, lineNumber{[10]byte(item.Personal.ICCID.HeaderOctets()), int32(item.line)})
		if len(seen)%loadChunk == 0 {
			o.Checked(len(seen))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(seen, func(a, b lineNumber) int {
		if c := bytes.Compare(a.number[:], b.number[:]); c != 0 {
			return c
		}
		return int(a.line - b.line)
	})
	for i := 1; i < len(seen); i++ {
		if seen[i].number == seen[i-1].number {
			problems.add(int(seen[i].line), "the ICCID is that of line %d", seen[i-1].line)
		}
	}
	if err := problems.orNil(); err != nil {
		return 0, err
	}
	if len(seen) == 0 {
		return 0, fault.New(fault.Invalid, "the file holds no profiles")
	}
	o.Checked(len(seen))
	seen = nil
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read the file again: %w", err)
	}
	l, err := s.beginLoad(ctx, o.Owner, o.Source, o.Stored)
	if err != nil {
		return 0, err
	}
	return l.finish(ctx, eachLine(file, o.Type, func(item Item, problem error) error {
		if problem != nil {
			return fmt.Errorf("the file has changed while it was read: line %d: %w", item.line, problem)
		}
		t := types[item.Type]
		if t == nil {
			return fmt.Errorf("the file has changed while it was read: line %d: profile type %q", item.line, item.Type)
		}
		t.completePersonal(&item.Personal)
		return l.add(ctx, item)
	}))
}

type lineNumber struct {
	number [10]byte
	line   int32
}

// eachLine reads a stock file. A line that is wrong comes with its problem; an
// error of visit ends the reading.
func eachLine(file io.Reader, defaultType string, visit func(item Item, problem error) error) error {
	buffered := bufio.NewReaderSize(file, 1<<16)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\xEF\xBB\xBF" {
		buffered.Discard(3) // spreadsheets write a byte order mark
	}
	reader := csv.NewReader(buffered)
	reader.ReuseRecord = true
	reader.TrimLeadingSpace = true
	reader.FieldsPerRecord = -1
	first, err := buffered.Peek(4096)
	if err != nil && len(first) == 0 {
		return fault.New(fault.Invalid, "the file is empty")
	}
	if line, _, _ := strings.Cut(string(first), "\n"); strings.Count(line, ";") > strings.Count(line, ",") {
		reader.Comma = ';'
	}
	head, err := reader.Read()
	if err != nil {
		return fault.New(fault.Invalid, "line 1: %v", err)
	}
	columns, err := readHead(head, defaultType)
	if err != nil {
		return err
	}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var item Item
		if broken, ok := errors.AsType[*csv.ParseError](err); ok {
			item.line = broken.Line
			if err := visit(item, broken.Err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		item.line, _ = reader.FieldPos(0)
		item.Type = defaultType
		problem := readLine(&item, columns, record)
		if err := visit(item, problem); err != nil {
			return err
		}
	}
}

// readHead returns the column name for each field.
func readHead(head []string, defaultType string) ([]string, error) {
	columns := make([]string, len(head))
	for i, name := range head {
		columns[i] = strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(strings.TrimSpace(name)))
		switch columns[i] {
		case "ki":
			columns[i] = "k"
		case "puk":
			columns[i] = "puk1"
		case "pin":
			columns[i] = "pin1"
		case "adm":
			columns[i] = "adm1"
		case "profiletype":
			columns[i] = "type"
		}
		if !slices.ContainsFunc(CSVColumns, func(c struct{ Name, Meaning string }) bool { return c.Name == columns[i] }) {
			return nil, fault.New(fault.Invalid, "line 1: column %q is unknown; the columns are %s", name, columnNames())
		}
		if slices.Contains(columns[:i], columns[i]) {
			return nil, fault.New(fault.Invalid, "line 1: column %q is there twice", name)
		}
	}
	for _, required := range []string{"iccid", "imsi", "k"} {
		if !slices.Contains(columns, required) {
			return nil, fault.New(fault.Invalid, "line 1: column %q is missing; the columns are %s", required, columnNames())
		}
	}
	if defaultType == "" && !slices.Contains(columns, "type") {
		return nil, fault.New(fault.Invalid, `line 1: column "type" is missing, and no type was given for the whole file`)
	}
	return columns, nil
}

func columnNames() string {
	names := make([]string, len(CSVColumns))
	for i, c := range CSVColumns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// readLine reads one line into item.
func readLine(item *Item, columns, record []string) error {
	if len(record) != len(columns) {
		return fmt.Errorf("it has %d fields, the first line has %d", len(record), len(columns))
	}
	p := &item.Personal
	for i, column := range columns {
		value := strings.TrimSpace(record[i])
		if value == "" {
			continue
		}
		var err error
		switch column {
		case "iccid":
			p.ICCID, err = ident.ParseICCID(value)
		case "imsi":
			p.IMSI, err = ident.ParseIMSI(value)
		case "k":
			p.K, err = octets(value, 16, 32)
		case "opc":
			p.OPc, err = octets(value, 16)
		case "topc":
			p.Algorithm = saip.TUAK
			p.OPc, err = octets(value, 32)
		case "type":
			item.Type = strings.Clone(value)
		case "msisdn":
			if p.MSISDN = strings.Clone(value); strings.Trim(strings.TrimPrefix(value, "+"), "0123456789") != "" {
				err = errors.New("a number is digits, with or without + in front")
			}
		case "pin1":
			p.PIN1 = strings.Clone(value)
		case "puk1":
			p.PUK1 = strings.Clone(value)
		case "pin2":
			p.PIN2 = strings.Clone(value)
		case "puk2":
			p.PUK2 = strings.Clone(value)
		case "adm1":
			p.ADM1 = strings.Clone(value)
		case "adm2":
			p.ADM2 = strings.Clone(value)
		case "acc":
			var n uint64
			n, err = strconv.ParseUint(value, 16, 16)
			p.ACC = uint16(n)
		case "spn":
			p.SPN = strings.Clone(value)
		case "smsc":
			p.SMSC = strings.Clone(value)
		case "routing":
			if p.RoutingIndicator = strings.Clone(value); len(value) > 4 || strings.Trim(value, "0123456789") != "" {
				err = errors.New("a routing indicator is 1 to 4 digits")
			}
		case "seq":
			p.SEQ, err = strconv.ParseUint(value, 10, 43)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", column, err)
		}
	}
	return nil
}

// octets reads hexadecimal digits that must make one of the given numbers of
// octets. The error does not repeat them: they may be a key.
func octets(s string, lengths ...int) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, errors.New("not hexadecimal digits")
	}
	if !slices.Contains(lengths, len(b)) {
		return nil, fmt.Errorf("%d hexadecimal digits, want %s", len(s), digitCounts(lengths))
	}
	return b, nil
}

func digitCounts(lengths []int) string {
	words := make([]string, len(lengths))
	for i, n := range lengths {
		words[i] = strconv.Itoa(2 * n)
	}
	return strings.Join(words, " or ")
}
