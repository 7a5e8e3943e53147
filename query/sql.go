package query

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// SQL writes the condition with bound values. The first argument has the number
// first. The condition is never null: it holds or it does not.
func (e *Expr) SQL(first int) (where string, args []any) {
	if e == nil {
		return "true", nil
	}
	c := &compiler{first: first}
	return c.node(e.root), c.args
}

type compiler struct {
	first int
	args  []any
}

// bind adds an argument and returns its place holder.
func (c *compiler) bind(v any) string {
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(c.first+len(c.args)-1)
}

func (c *compiler) node(n node) string {
	switch n := n.(type) {
	case allOf:
		return c.list(n, " and ")
	case anyOf:
		return c.list(n, " or ")
	case negation:
		return "not " + c.node(n.of)
	case condition:
		return "(" + c.condition(n) + ")"
	}
	panic(fmt.Sprintf("query: unknown node %T", n))
}

func (c *compiler) list(nodes []node, with string) string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = c.node(n)
	}
	return "(" + strings.Join(texts, with) + ")"
}

func (c *compiler) condition(n condition) string {
	switch n.field.Kind {
	case Tags:
		return c.tags(n)
	case Group:
		return c.group(n)
	case Text:
		return c.text(n.field, n.op, n.value)
	case Enum:
		return c.exact(n.field, n.op, n.value.text, n.value.shape == empty)
	case Number:
		if n.value.shape == empty {
			return c.presence(n.field, n.op)
		}
		return c.number(n.field, n.op, n.value.number)
	case Time:
		if n.value.shape == empty {
			return c.presence(n.field, n.op)
		}
		return c.time(n.field, n.op, n.value)
	case Bool:
		if n.value.shape == empty {
			return c.presence(n.field, n.op)
		}
		return c.compare(n.field, n.op, n.value.truth)
	default:
		return c.position(n)
	}
}

// compared is the column that conditions on text and orders go by.
func (f *Field) compared() string {
	switch {
	case f.Kind != Text && f.Kind != Tags && f.Kind != Group || f.Upper:
		return f.SQL
	case f.Folded != "":
		return f.Folded
	default:
		return "lower(" + f.SQL + ")"
	}
}

// byDatabase reports whether the database folds a field's values. It then folds
// the query's too, so that equal texts are equal whatever it makes of them.
func (f *Field) byDatabase() bool {
	return f.Folded == "" && !f.Upper && (f.Kind == Text || f.Kind == Tags || f.Kind == Group)
}

// fold makes a value of a query comparable with the column.
func (f *Field) fold(s string) string {
	switch {
	case f.Upper:
		return strings.ToUpper(s)
	case f.byDatabase():
		return s
	}
	return Fold(s)
}

// operand binds a value that is compared with a field.
func (c *compiler) operand(f *Field, v any) string {
	if f.byDatabase() {
		return "lower(" + c.bind(v) + ")"
	}
	return c.bind(v)
}

// scanned makes a value of the column, as drivers give it, one of a cursor.
func (f *Field) scanned(v any) any {
	switch v := v.(type) {
	case int64:
		if f.Kind == Bool {
			return v != 0
		}
	case []byte:
		return string(v)
	}
	return v
}

// there guards a condition on a column that may be null, so that it does not
// become null itself.
func (f *Field) there(condition string) string {
	if f.Nullable {
		return f.compared() + " is not null and " + condition
	}
	return condition
}

// compare is the plain comparison with one value. An absent field differs from
// every value.
func (c *compiler) compare(f *Field, op op, v any) string {
	text := f.compared() + " " + string(op) + " " + c.operand(f, v)
	if op == unequal && f.Nullable {
		return f.compared() + " is null or " + text
	}
	return f.there(text)
}

// presence is a comparison with empty, of a field that is no text.
func (c *compiler) presence(f *Field, op op) string {
	switch {
	case !f.Nullable:
		return strconv.FormatBool(op == unequal)
	case op == equal:
		return f.compared() + " is null"
	default:
		return f.compared() + " is not null"
	}
}

// blank is a comparison of a text with nothing.
func (c *compiler) blank(f *Field, op op) string {
	column := f.compared()
	switch {
	case op == unequal:
		return f.there(column + " <> ''")
	case f.Nullable:
		return column + " is null or " + column + " = ''"
	default:
		return column + " = ''"
	}
}

// exact is equality of texts that are bound as they are.
func (c *compiler) exact(f *Field, op op, text string, blank bool) string {
	if blank || text == "" {
		return c.blank(f, op)
	}
	return c.compare(f, op, text)
}

func (c *compiler) text(f *Field, op op, v value) string {
	text := f.fold(v.text)
	switch op {
	case equal, unequal:
		return c.exact(f, op, text, v.shape == empty)
	case less, lessOrEqual, greater, greaterOrEqual:
		return f.there(fmt.Sprintf("%s <> '' and %[1]s %s %s", f.compared(), op, c.operand(f, text)))
	}
	if text == "" {
		return c.blank(f, unequal)
	}
	return f.there(c.match(f, f.compared(), op, text))
}

// match is a condition on a part of a text that is not empty.
func (c *compiler) match(f *Field, column string, op op, text string) string {
	switch {
	case op == startsWith && f.byDatabase():
		return column + " like " + c.operand(f, literally(text)+"%") + ` escape '\'`
	case op == startsWith:
		// A range, which an index serves on both engines.
		if end := successor(text); end != "" {
			return fmt.Sprintf("%[1]s >= %[2]s and %[1]s < %[3]s", column, c.bind(text), c.bind(end))
		}
		return column + " >= " + c.bind(text)
	case op == endsWith:
		return column + " like " + c.operand(f, "%"+literally(text)) + ` escape '\'`
	default:
		return column + " like " + c.operand(f, "%"+literally(text)+"%") + ` escape '\'`
	}
}

// literally takes the meaning from the wildcards of LIKE.
var likeEscapes = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func literally(s string) string { return likeEscapes.Replace(s) }

// successor is the least text above all that begin with s, empty if there is
// none. Databases sort by octets, and UTF-8 sorts as its characters do.
func successor(s string) string {
	for s != "" {
		r, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
		if r == 0xD7FF {
			return s + "\uE000" // between them are no characters
		}
		if r < utf8.MaxRune {
			return s + string(r+1)
		}
	}
	return ""
}

func (c *compiler) tags(n condition) string {
	exists := func(of string) string { return fmt.Sprintf(n.field.SQL, of) }
	none := n.value.shape == empty || n.value.text == ""
	column, text := n.field.compared(), n.field.fold(n.value.text)
	switch n.op {
	case equal:
		if none {
			return "not " + exists("true")
		}
	case unequal:
		if none {
			return exists("true")
		}
		return "not " + exists(column+" = "+c.operand(n.field, text))
	case contains, startsWith, endsWith:
		if none {
			return exists("true")
		}
		return exists(c.match(n.field, column, n.op, text))
	}
	return exists(column + " " + string(n.op) + " " + c.operand(n.field, text))
}

// group is a condition on a path. No path is the path of the root.
func (c *compiler) group(n condition) string {
	f, column := n.field, n.field.compared()
	path := value{shape: n.value.shape, text: strings.Trim(n.value.text, "/")}
	text := f.fold(path.text)
	switch n.op {
	case startsWith:
		if text == "" {
			return "true"
		}
		return f.there(fmt.Sprintf("(%[1]s = %[2]s or %[1]s >= %[3]s and %[1]s < %[4]s)", column, c.operand(f, text), c.operand(f, text+"/"), c.operand(f, text+"0")))
	case contains, endsWith:
		if text = f.fold(n.value.text); text == "" {
			return c.blank(f, unequal)
		}
		return f.there(column + " <> '' and " + c.match(f, "'/' || "+column, n.op, text))
	}
	return c.text(f, n.op, path)
}

func (c *compiler) number(f *Field, op op, n *big.Rat) string {
	floor := new(big.Int).Div(n.Num(), n.Denom()) // Euclidean, and the denominator is positive
	if n.IsInt() && floor.IsInt64() {
		return c.compare(f, op, floor.Int64())
	}
	// No record has this number: it lies between two, or beyond all.
	switch op {
	case equal:
		return "false"
	case unequal:
		return "true"
	}
	below := op == less || op == lessOrEqual
	if !floor.IsInt64() {
		if below == (n.Sign() > 0) {
			return c.presence(f, unequal)
		}
		return "false"
	}
	if below {
		return c.compare(f, lessOrEqual, floor.Int64())
	}
	return c.compare(f, greater, floor.Int64())
}

// time compares with an instant that lasts a millisecond, as answers show it.
func (c *compiler) time(f *Field, op op, v value) string {
	begin, end := v.at.UnixMicro(), v.at.Add(v.step).UnixMicro()
	switch op {
	case equal:
		return f.there(fmt.Sprintf("%[1]s >= %[2]s and %[1]s < %[3]s", f.compared(), c.bind(begin), c.bind(end)))
	case unequal:
		text := fmt.Sprintf("%[1]s < %[2]s or %[1]s >= %[3]s", f.compared(), c.bind(begin), c.bind(end))
		if f.Nullable {
			return f.compared() + " is null or " + text
		}
		return text
	case less:
		return c.compare(f, less, begin)
	case lessOrEqual:
		return c.compare(f, less, end)
	case greater:
		return c.compare(f, greaterOrEqual, end)
	default:
		return c.compare(f, greaterOrEqual, begin)
	}
}

// millionths rounds degrees to the unit of the columns, up or down.
func millionths(degrees *big.Rat, up bool) int64 {
	n := new(big.Rat).Mul(degrees, big.NewRat(1_000_000, 1))
	floor := new(big.Int).Div(n.Num(), n.Denom())
	if up && !n.IsInt() {
		return floor.Int64() + 1
	}
	return floor.Int64()
}

func (c *compiler) position(n condition) string {
	f, lon, lat := n.field, n.field.SQL, n.field.Latitude
	if n.value.shape == empty {
		return c.presence(f, n.op)
	}
	west, south := c.bind(millionths(n.value.area[0], true)), c.bind(millionths(n.value.area[1], true))
	east, north := c.bind(millionths(n.value.area[2], false)), c.bind(millionths(n.value.area[3], false))
	join := "and"
	if n.value.area[0].Cmp(n.value.area[2]) > 0 {
		join = "or"
	}
	inside := fmt.Sprintf("(%[1]s >= %[2]s %[3]s %[1]s <= %[4]s) and %[5]s >= %[6]s and %[5]s <= %[7]s", lon, west, join, east, lat, south, north)
	if n.op == outside {
		inside = "not (" + inside + ")"
	}
	if f.Nullable {
		return lon + " is not null and " + lat + " is not null and " + inside
	}
	return inside
}
