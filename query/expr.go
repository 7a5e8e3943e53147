package query

import (
	"math/big"
	"time"
)

// An Expr is a query that was understood. Nil holds for every record.
type Expr struct {
	root node
	text string
	now  time.Time
}

// String returns the query as it was sent.
func (e *Expr) String() string {
	if e == nil {
		return ""
	}
	return e.text
}

// A node is one of the types below.
type node any

type (
	// allOf and anyOf have two members or more.
	allOf []node
	anyOf []node

	negation struct{ of node }

	condition struct {
		field *Field
		op    op
		value value
	}
)

// An op is an operator, spelled as the language does.
type op string

const (
	equal          op = "="
	unequal        op = "<>"
	less           op = "<"
	lessOrEqual    op = "<="
	greater        op = ">"
	greaterOrEqual op = ">="
	contains       op = "contains"
	startsWith     op = "startswith"
	endsWith       op = "endswith"
	within         op = "within"
	outside        op = "outside"
)

// symbols are the operators that are no words, longer ones before those that
// they begin with.
var symbols = []struct {
	text string
	op   op
}{
	{"<>", unequal}, {"!=", unequal}, {"<=", lessOrEqual}, {">=", greaterOrEqual}, {"<", less}, {">", greater}, {"=", equal},
}

var words = []op{contains, startsWith, endsWith, within, outside}

var (
	ordering = []op{equal, unequal, less, lessOrEqual, greater, greaterOrEqual}
	matching = append(ordering[:len(ordering):len(ordering)], contains, startsWith, endsWith)
)

// rules say what can be asked of each kind of field, and with which values.
var rules = map[Kind]struct {
	ops    []op
	values []shape
	text   string // how a value is written
}{
	Text:     {matching, []shape{quoted}, "text in single quotes"},
	Group:    {matching, []shape{quoted}, "a path in single quotes"},
	Tags:     {matching, []shape{quoted}, "text in single quotes"},
	Enum:     {[]op{equal, unequal}, []shape{quoted}, "text in single quotes"},
	Number:   {ordering, []shape{number}, "a number without quotes"},
	Time:     {ordering, []shape{quoted, offset}, "a time in single quotes like '2026-03-04T05:06:07Z', or an offset from now without quotes like -1d"},
	Bool:     {[]op{equal, unequal}, []shape{truth}, "true or false without quotes"},
	Position: {[]op{within, outside, equal, unequal}, []shape{area}, "an area like [west, south, east, north] in degrees"},
}

// A shape is how a value is written.
type shape int

const (
	quoted shape = iota
	number
	offset
	truth
	empty
	area
)

// A value is what a field is compared with.
type value struct {
	shape  shape
	text   string        // quoted; of an Enum, as it is stored; of a Group without outer slashes, where that is meant
	number *big.Rat      // number
	offset time.Duration // offset
	truth  bool          // truth
	area   [4]*big.Rat   // area: west, south, east, north
	at     time.Time     // of a Time
	step   time.Duration // of a Time: how far the instant that is meant reaches
}
