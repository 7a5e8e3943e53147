package remote

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"godwit/fault"
	"godwit/web"
)

// A column is one field of a record, with its place in the struct that shows it.
type column struct {
	name  string
	index []int
}

// columnsOf returns the fields of a record's struct, by their names in JSON.
func columnsOf(record any) []column {
	var list []column
	t := reflect.TypeOf(record)
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		list = append(list, column{name, f.Index})
	}
	return list
}

func names(list []column) string {
	all := make([]string, len(list))
	for i, c := range list {
		all[i] = c.name
	}
	return strings.Join(all, ", ")
}

// A table is CSV with a header line.
type table struct {
	columns []column
	body    bytes.Buffer
	out     *csv.Writer
}

func newTable(columns []column) *table {
	t := &table{columns: columns}
	t.out = csv.NewWriter(&t.body)
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.name
	}
	t.put(line)
	return t
}

// put writes a line. Writing to memory does not fail.
func (t *table) put(line []string) { _ = t.out.Write(line) }

func (t *table) row(record any) {
	v := reflect.ValueOf(record)
	line := make([]string, len(t.columns))
	for i, c := range t.columns {
		line[i] = cell(v.FieldByIndex(c.index))
	}
	t.put(line)
}

// cell is a value as CSV has it: arrays joined with commas, absent ones empty.
func cell(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return ""
		}
		return cell(v.Elem())
	case reflect.String:
		return v.String()
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 { // JSON
			return string(v.Bytes())
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = cell(v.Index(i))
		}
		return strings.Join(parts, ",")
	case reflect.Struct:
		if p, ok := v.Interface().(pointJSON); ok {
			return cell(reflect.ValueOf(p.Coordinates))
		}
	}
	return fmt.Sprint(v.Interface())
}

func (t *table) write(w http.ResponseWriter) error {
	t.out.Flush()
	w.Header().Set("Content-Type", "text/csv;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(t.body.Len()))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(t.body.Bytes()) // an error here means that the client has gone
	return nil
}

// readTable reads a CSV body: a header line, then one line for each record.
// Blank lines, empty values and white space around names and values count for
// nothing. Each record is what a JSON object with these members would say.
func readTable(r *web.Request, known ...string) ([]*body, error) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xEF\xBB\xBF"))))
	in.FieldsPerRecord, in.TrimLeadingSpace = -1, true
	var header []string
	var list []*body
	for {
		line, err := in.Read()
		if err == io.EOF {
			break
		}
		if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, fault.New(fault.Invalid, "line %d of the CSV does not read: %v", wrong.Line, wrong.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("read CSV: %w", err)
		}
		for i := range line {
			line[i] = strings.TrimSpace(line[i])
		}
		if !slices.ContainsFunc(line, func(s string) bool { return s != "" }) {
			continue
		}
		if header == nil {
			if header, err = readHeader(line, known); err != nil {
				return nil, err
			}
			continue
		}
		number, _ := in.FieldPos(0)
		if len(line) > len(header) {
			return nil, fault.New(fault.Invalid, "line %d of the CSV has %d values, the header has %d names: put values with commas in double quotes", number, len(line), len(header))
		}
		if len(list) == maxExport {
			return nil, fault.New(fault.Invalid, "the CSV has more than %d records: send it in parts", maxExport)
		}
		b := &body{values: map[string]any{}, loose: true}
		for i, value := range line {
			if value != "" {
				b.values[header[i]] = value
			}
		}
		list = append(list, b)
	}
	if header == nil {
		return nil, fault.New(fault.Invalid, "the CSV is empty: its first line has the names of the fields, such as %s", strings.Join(known[:min(2, len(known))], ","))
	}
	return list, nil
}

// readHeader reads the names of the columns. Names that mean nothing are passed over, as unknown
// members of an object are; a header without any that does is no header.
func readHeader(line, known []string) ([]string, error) {
	header := make([]string, len(line))
	good := false
	for i, name := range line {
		header[i] = strings.ToLower(name)
		if name != "" && slices.Contains(header[:i], header[i]) {
			return nil, fault.New(fault.Invalid, "the first line of the CSV names column %d as one before it", i+1) // not which: it may be a secret
		}
		good = good || slices.Contains(known, header[i])
	}
	if !good {
		return nil, fault.New(fault.Invalid, "the first line of the CSV has the names of the fields, some of %s; none of them stands there, with commas between", strings.Join(known, ", ")) // the line may be a record with its secret
	}
	return header, nil
}
