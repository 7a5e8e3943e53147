package query

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// value reads a value and holds it against the field.
func (p *parser) value(field *Field, op op) value {
	start := p.at
	v := p.literal(field)
	rule := rules[field.Kind]
	input := "'" + string(p.source[start]) + "'"
	if v.shape == empty {
		if op != equal && op != unequal {
			p.refuse(start, input, fmt.Sprintf("%s after %s (empty goes with = and <>)", rule.text, op))
		}
		return v
	}
	if field.Kind == Position && (op == equal || op == unequal) {
		p.refuse(start, input, "empty (a position is asked for by within and outside)")
	}
	if !slices.Contains(rule.values, v.shape) {
		p.refuse(start, input, fmt.Sprintf("%s (%s)", rule.text, p.instead(field, v)))
	}
	switch field.Kind {
	case Enum:
		i := slices.IndexFunc(field.Values, func(s string) bool { return Fold(s) == Fold(v.text) })
		if i < 0 {
			p.refuse(start, "'"+clip(v.text)+"'", "one of the values of "+field.Name+": '"+strings.Join(field.Values, "', '")+"'")
		}
		v.text = field.Values[i]
	case Time:
		p.instant(start, &v)
	case Position:
		p.bounds(start, v.area)
	}
	return v
}

// instead suggests how a value of the wrong shape is to be written.
func (p *parser) instead(field *Field, v value) string {
	switch {
	case field.Kind == Text || field.Kind == Enum || field.Kind == Tags || field.Kind == Group:
		return "write it like 'this'"
	case v.shape == quoted:
		return "leave the quotes out"
	case field.Kind == Time:
		return "an offset has a sign and a unit, s, m, h, d or w"
	}
	return field.Name + " is no " + map[shape]string{number: "number", offset: "time", truth: "truth value", area: "position"}[v.shape]
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// literal reads a value of any shape.
func (p *parser) literal(field *Field) value {
	r := p.peek()
	switch {
	case r == '\'':
		return value{shape: quoted, text: p.quoted()}
	case r == '[':
		return p.area()
	case r == '+' || r == '-' || digit(r):
		return p.number()
	case letter(r):
		switch word := p.wordAt(p.at); strings.ToLower(word) {
		case "true", "false":
			p.at += len(word)
			return value{shape: truth, truth: strings.EqualFold(word, "true")}
		case "empty":
			p.at += len(word)
			return value{shape: empty}
		case "null", "none", "nil", "blank":
			p.fail(p.at, "a value (for nothing write empty)")
		default:
			p.fail(p.at, fmt.Sprintf("%s (text stands in single quotes: '%s')", rules[field.Kind].text, clip(word)))
		}
	case r == '"' || r == '“' || r == '”' || r == '„' || r == '‘' || r == '’' || r == '`':
		p.fail(p.at, fmt.Sprintf("a value (text stands in single quotes: %s)", p.requoted()))
	case r == '=':
		p.fail(p.at, "a value (one = is enough)")
	}
	p.fail(p.at, rules[field.Kind].text+", or empty")
	return value{}
}

// requoted is what stands in the wrong quotes, in the right ones.
func (p *parser) requoted() string {
	rest := p.source[p.at+1:]
	end := slices.IndexFunc(rest, func(r rune) bool { return strings.ContainsRune("\"“”‘’`", r) })
	if end < 0 {
		return "'text'"
	}
	return "'" + strings.ReplaceAll(clip(string(rest[:end])), "'", "''") + "'"
}

func (p *parser) quoted() string {
	p.at++
	var b strings.Builder
	for {
		switch r := p.peek(); {
		case p.end():
			p.fail(p.at, "a single quote at the end of the text")
		case r == 0:
			p.fail(p.at, "text without the character NUL")
		case r == '\'' && p.ahead(1) == '\'':
			b.WriteRune(r)
			p.at++
		case r == '\'':
			p.at++
			return b.String()
		default:
			b.WriteRune(r)
		}
		p.at++
	}
}

// maxDigits is more than any number of a record has.
const maxDigits = 40

// units of an offset from now.
var units = map[rune]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}

// number reads a number or, where a sign goes before and a unit follows, an
// offset from now.
func (p *parser) number() value {
	start := p.at
	signed := p.peek() == '+' || p.peek() == '-'
	if signed {
		p.at++
	}
	if p.peek() == '0' && (p.ahead(1) == 'x' || p.ahead(1) == 'X') {
		p.at += 2
		digits := p.run(func(r rune) bool { return digit(r) || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F' }, "a hexadecimal digit")
		n, _ := new(big.Int).SetString(digits, 16)
		return value{shape: number, number: p.sign(start, new(big.Rat).SetInt(n))}
	}
	digits := p.run(digit, "a digit")
	unit := p.peek() | 0x20 // in small letters
	if length, ok := units[unit]; ok && !inName(p.ahead(1)) {
		if !signed {
			p.fail(start, fmt.Sprintf("a sign: an offset from now is written like -%s%c", digits, unit))
		}
		n, _ := new(big.Int).SetString(digits, 10)
		n.Mul(n, big.NewInt(int64(length)))
		if !n.IsInt64() {
			p.fail(start, "an offset of less than 292 years")
		}
		p.at++
		d := time.Duration(n.Int64())
		if p.source[start] == '-' {
			d = -d
		}
		return value{shape: offset, offset: d}
	}
	if p.peek() == '.' {
		p.at++
		digits += "." + p.run(digit, "a digit")
	}
	n, _ := new(big.Rat).SetString(digits)
	return value{shape: number, number: p.sign(start, n)}
}

func (p *parser) sign(start int, n *big.Rat) *big.Rat {
	if p.source[start] == '-' {
		n.Neg(n)
	}
	return n
}

func (p *parser) run(ok func(rune) bool, what string) string {
	start := p.at
	for !p.end() && ok(p.source[p.at]) {
		if p.at++; p.at-start > maxDigits {
			p.fail(p.at-1, fmt.Sprintf("at most %d digits", maxDigits))
		}
	}
	if p.at == start {
		p.fail(start, what)
	}
	return string(p.source[start:p.at])
}

func (p *parser) area() value {
	v := value{shape: area}
	p.at++
	for i := range v.area {
		if i > 0 {
			if p.peek() != ',' {
				p.fail(p.at, "a comma: an area is [west, south, east, north]")
			}
			p.at++
		}
		p.space()
		start := p.at
		n := p.number()
		if n.shape != number {
			p.fail(start, "a number of degrees")
		}
		v.area[i] = n.number
		p.space()
	}
	if p.peek() != ']' {
		p.fail(p.at, "]: an area is [west, south, east, north]")
	}
	p.at++
	return v
}

// bounds holds an area against the globe. West may be greater than east: the area
// then crosses the 180th meridian.
func (p *parser) bounds(start int, a [4]*big.Rat) {
	beyond := func(r *big.Rat, degrees int64) bool {
		return new(big.Rat).Abs(r).Cmp(new(big.Rat).SetInt64(degrees)) > 0
	}
	if beyond(a[0], 180) || beyond(a[2], 180) || beyond(a[1], 90) || beyond(a[3], 90) || a[1].Cmp(a[3]) > 0 {
		p.fail(start, "an area [west, south, east, north] with -180 to 180, -90 to 90, and south not above north")
	}
}

// layouts are the forms of ISO 8601 that are taken. The fraction is optional
// wherever there are seconds. Without a zone it is UTC.
var layouts = []string{
	time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "20060102T150405Z07:00", "20060102T150405Z0700", "20060102T150405",
}

// instant finds the time that a value means.
func (p *parser) instant(start int, v *value) {
	v.step = time.Millisecond
	if v.shape == offset {
		v.at = p.now.Add(v.offset).Truncate(time.Millisecond)
		return
	}
	text := strings.ToUpper(strings.TrimSpace(v.text))
	for _, layout := range layouts {
		at, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if at.Year() < 1 || at.Year() > 9999 {
			break
		}
		v.at = at.UTC().Truncate(time.Millisecond)
		if !v.at.Equal(at) {
			v.at, v.step = at.UTC().Truncate(time.Microsecond), time.Microsecond
		}
		return
	}
	p.refuse(start, "'"+clip(v.text)+"'", "a time of ISO 8601 like '2026-03-04T05:06:07.089Z', or an offset from now like -1d without quotes")
}
