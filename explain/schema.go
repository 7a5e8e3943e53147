package explain

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"godwit/tlv"
)

//go:embed schema.txt
var schemaText string

// A field is what the schema says of one element.
type field struct {
	name   string
	format string   // text, int, bits, .. ; "" for octets
	args   []string // names of bits or numbers, or the function of a result
	kids   string   // the type of what is in it, "" when unknown
}

// key finds a field in a type: by tag, and for some by the place among the
// children.
type key struct {
	tag   tlv.Tag
	first bool // only as the first child
	nth   int  // only as the nth of its tag, 0 for any
}

type object map[key]field

// schema is the parsed text; it is ours, so damage in it is a fault of the
// program and a test finds it.
var schema = sync.OnceValue(func() map[string]object {
	types, err := parseSchema(schemaText)
	if err != nil {
		panic("explain: " + err.Error())
	}
	return types
})

func parseSchema(text string) (map[string]object, error) {
	types := make(map[string]object)
	var current object
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			current = make(object)
			types[strings.TrimSuffix(name, "]")] = current
			continue
		}
		k, f, err := parseField(line)
		if err != nil || current == nil {
			return nil, fmt.Errorf("schema line %d: %q: %v", number, line, err)
		}
		if _, twice := current[k]; twice {
			return nil, fmt.Errorf("schema line %d: tag occurs twice", number)
		}
		current[k] = f
	}
	return types, nil
}

func parseField(line string) (key, field, error) {
	tag, rest, _ := strings.Cut(line, " ")
	var k key
	tag, k.first = strings.CutSuffix(tag, "^")
	tag, nth, numbered := strings.Cut(tag, "#")
	if numbered {
		n, err := strconv.Atoi(nth)
		if err != nil {
			return k, field{}, err
		}
		k.nth = n
	}
	n, err := strconv.ParseUint(tag, 16, 24)
	if err != nil {
		return k, field{}, err
	}
	k.tag = tlv.Tag(n)
	name, rest, _ := strings.Cut(rest, " ")
	f := field{name: strings.ReplaceAll(name, "_", " ")}
	if kids, ok := strings.CutPrefix(rest, ">"); ok {
		f.kids = kids
		return k, f, nil
	}
	format, args, ok := strings.Cut(rest, "(")
	f.format = format
	if ok {
		f.args = strings.Split(strings.TrimSuffix(args, ")"), ",")
	}
	return k, f, nil
}

// lookup finds the field of an element: the most particular one first, then the
// names that a tag has wherever it occurs.
func (o object) lookup(tag tlv.Tag, place, nth int) (field, bool) {
	if place == 0 {
		if f, ok := o[key{tag: tag, first: true}]; ok {
			return f, true
		}
	}
	if f, ok := o[key{tag: tag, nth: nth}]; ok {
		return f, true
	}
	if f, ok := o[key{tag: tag}]; ok {
		return f, true
	}
	if tag > 0xFF { // BFxx, 5F37, 5F49: the same everywhere
		f, ok := schema()["message"][key{tag: tag}]
		return f, ok
	}
	return field{}, false
}
