package query

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// What one query may hold. Longer ones are no work of people, and a database has
// its own bounds.
const (
	maxLength     = 10_000 // characters
	maxDepth      = 64     // of brackets and nots
	maxConditions = 300
)

// Parse reads a query against the fields of a resource. Offsets in it count from
// now. An empty query gives nil. What it refuses is an [*Error].
func Parse(text string, s *Schema, now time.Time) (e *Expr, err error) {
	if !utf8.ValidString(text) {
		return nil, &Error{Line: 1, Pos: 1, Input: "octets", Expected: "text in UTF-8"}
	}
	p := &parser{source: []rune(text), schema: s, now: now}
	defer func() {
		switch failed := recover().(type) {
		case nil:
		case *Error:
			e, err = nil, failed
		default:
			panic(failed)
		}
	}()
	if len(p.source) > maxLength {
		p.source = p.source[:40]
		p.fail(len(p.source), fmt.Sprintf("at most %d characters", maxLength))
	}
	p.space()
	if p.end() {
		return nil, nil
	}
	root := p.expression()
	if !p.end() {
		p.fail(p.at, p.hintAfter("the end of the query"))
	}
	return &Expr{root: root, text: text, now: now}, nil
}

// A parser reads from left to right. It leaves by a panic with an [*Error], which
// Parse catches.
type parser struct {
	source     []rune
	at         int
	schema     *Schema
	now        time.Time
	depth      int
	conditions int
}

// fail refuses what stands at a place.
func (p *parser) fail(at int, expected string) {
	input := "'EOI'" // end of input
	if at < len(p.source) {
		input = "'" + string(p.source[at]) + "'"
	}
	p.refuse(at, input, expected)
}

func (p *parser) refuse(at int, input, expected string) {
	e := &Error{Line: 1, Pos: at + 1, Input: input, Expected: expected}
	start := 0
	for i, r := range p.source[:at] {
		if r == '\n' {
			e.Line++
			start = i + 1
		}
	}
	e.Pos = at - start + 1
	line := p.source[start:]
	if i := slices.Index(line, '\n'); i >= 0 {
		line = line[:i]
	}
	e.Query = strings.TrimSuffix(string(line), "\r")
	panic(e)
}

func (p *parser) end() bool { return p.at == len(p.source) }

// peek returns the next character, 0 at the end.
func (p *parser) peek() rune { return p.ahead(0) }

func (p *parser) ahead(n int) rune {
	if p.at+n < len(p.source) {
		return p.source[p.at+n]
	}
	return 0
}

func (p *parser) space() {
	for !p.end() && strings.ContainsRune(" \t\r\n", p.source[p.at]) {
		p.at++
	}
}

func letter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
func digit(r rune) bool  { return r >= '0' && r <= '9' }

// inName reports whether a character continues a name or a keyword.
func inName(r rune) bool { return letter(r) || digit(r) || r == '_' }

// wordAt returns the name or keyword that stands at a place, which may be empty.
func (p *parser) wordAt(at int) string {
	end := at
	for end < len(p.source) && inName(p.source[end]) {
		end++
	}
	return string(p.source[at:end])
}

// keyword takes a keyword and the white space behind it, if it comes next.
func (p *parser) keyword(word string) bool {
	if next := p.wordAt(p.at); !strings.EqualFold(next, word) {
		return false
	}
	p.at += len(word)
	p.space()
	return true
}

func (p *parser) deeper() {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.at, fmt.Sprintf("at most %d brackets and nots within one another", maxDepth))
	}
}

func (p *parser) expression() node {
	list := []node{p.conjunction()}
	for p.keyword("or") {
		list = append(list, p.conjunction())
	}
	if len(list) == 1 {
		return list[0]
	}
	return anyOf(list)
}

func (p *parser) conjunction() node {
	list := []node{p.term()}
	for p.keyword("and") {
		list = append(list, p.term())
	}
	if len(list) == 1 {
		return list[0]
	}
	return allOf(list)
}

func (p *parser) term() node {
	switch {
	case p.keyword("not"):
		p.deeper()
		of := p.term()
		p.depth--
		return negation{of}
	case p.peek() == '(':
		p.at++
		p.deeper()
		p.space()
		inner := p.expression()
		if p.peek() != ')' {
			p.fail(p.at, p.hintAfter(")"))
		}
		p.at++
		p.depth--
		p.space()
		return inner
	default:
		return p.condition()
	}
}

// hintAfter is what may follow a condition.
func (p *parser) hintAfter(end string) string {
	usual := "and, or, or " + end
	switch p.peek() {
	case '&':
		return usual + " (write and, not &&)"
	case '|':
		return usual + " (write or, not ||)"
	case ',', ';':
		return usual + " (conditions are joined by and or or)"
	case '\'':
		return usual + " (a quote inside a text is doubled: 'o''brien')"
	}
	return usual
}

func (p *parser) condition() node {
	if p.conditions++; p.conditions > maxConditions {
		p.fail(p.at, fmt.Sprintf("at most %d conditions", maxConditions))
	}
	start := p.at
	name := p.wordAt(start)
	if name == "" || !letter(p.source[start]) {
		expected := "a field, not, or ("
		if r := p.peek(); r == '!' {
			expected += " (write not, not !)"
		} else if r == '"' || r == '\'' {
			expected += " (the name of a field stands without quotes)"
		}
		p.fail(start, expected)
	}
	field := p.schema.Field(name)
	if field == nil {
		p.refuse(start, "'"+name+"'", "one of the fields "+strings.Join(p.schema.Names(), ", "))
	}
	p.at += len(name)
	p.space()
	from := p.at
	op := p.operator()
	if rule := rules[field.Kind]; !slices.Contains(rule.ops, op) {
		p.refuse(from, "'"+string(op)+"'", p.operators(field, op))
	}
	p.space()
	value := p.value(field, op)
	p.space()
	return condition{field, op, value}
}

// operators are those that a field has, with the reason why another is refused.
func (p *parser) operators(field *Field, refused op) string {
	text := joined(rules[field.Kind].ops)
	if refused == within || refused == outside {
		return text + fmt.Sprintf(" (%s is for the position of devices)", refused)
	}
	if field.Kind == Enum {
		return text + fmt.Sprintf(" (%s is one of %s)", field.Name, strings.Join(field.Values, ", "))
	}
	return text
}

func joined(ops []op) string {
	list := make([]string, len(ops))
	for i, o := range ops {
		list[i] = string(o)
	}
	return strings.Join(list, ", ")
}

// meant are operators of other languages, and how they are written here.
var meant = map[string]string{
	"equals": "=", "equal": "=", "eq": "=", "is": "=", "ne": "<>", "neq": "<>", "gt": ">", "ge": ">=", "gte": ">=", "lt": "<", "le": "<=", "lte": "<=",
	"like": "contains, startswith or endswith", "matches": "contains", "in": "= and or", "has": "contains", "starts": "startswith", "ends": "endswith", "begins": "startswith",
	"not": "<>, or not before the field",
}

// operator reads an operator. A word that is none is refused where it parts
// from those that there are.
func (p *parser) operator() op {
	for _, s := range symbols {
		if strings.HasPrefix(string(p.source[p.at:min(p.at+2, len(p.source))]), s.text) {
			p.at += len(s.text)
			return s.op
		}
	}
	word := p.wordAt(p.at)
	folded := strings.ToLower(word)
	shared, near := 0, ordering[:0:0]
	for _, o := range words {
		if folded == string(o) {
			p.at += len(word)
			return o
		}
		n := 0
		for n < len(o) && n < len(folded) && o[n] == folded[n] {
			n++
		}
		if n > shared {
			shared, near = n, near[:0]
		}
		if n == shared && n > 0 {
			near = append(near, o)
		}
	}
	expected := joined(near)
	if shared == 0 {
		expected = "an operator: " + joined(matching)
	} else if shared == len(near[0]) {
		expected = "white space after " + expected
	}
	if better, ok := meant[folded]; ok {
		expected += fmt.Sprintf(" (for %s write %s)", folded, better)
	} else if p.peek() == '~' || p.peek() == ':' {
		expected += " (= is the sign of equality)"
	}
	p.fail(p.at+shared, expected)
	return ""
}
