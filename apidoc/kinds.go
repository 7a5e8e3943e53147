package apidoc

import (
	"fmt"
	"strconv"
	"strings"
)

// optional reports whether a property may be missing: its kind begins with
// "maybe ". Only refusals and extensions have such.
func optional(k string) bool { return strings.HasPrefix(k, "maybe ") }

// kind returns the JSON schema of a kind:
//
//	text, bool, int, number, url, time, method, map
//	sid HS            a SID with its prefix
//	int 1 to 1000     a whole number within limits
//	text 255          of at most so many characters
//	name 255          the same, but not empty
//	one of a, b       one of these words
//	object NAME       an object of the table of schemas
//	list of KIND
//	KIND?             or null
//	maybe KIND        may be missing
func kind(k string, used map[string]bool) object {
	k = strings.TrimPrefix(k, "maybe ")
	if base, nullable := strings.CutSuffix(k, "?"); nullable {
		o := kind(base, used)
		if t, ok := o["type"].(string); ok {
			o["type"] = []string{t, "null"}
			if words, ok := o["enum"].([]any); ok {
				o["enum"] = append(words, nil)
			}
			return o
		}
		return object{"anyOf": []object{o, {"type": "null"}}}
	}
	name, rest, _ := strings.Cut(k, " ")
	switch name {
	case "text":
		o := object{"type": "string"}
		if rest != "" {
			o["maxLength"] = number(rest)
		}
		return o
	case "name":
		return object{"type": "string", "minLength": 1, "maxLength": number(rest)}
	case "bool":
		return object{"type": "boolean"}
	case "number":
		return object{"type": "number"}
	case "int":
		o := object{"type": "integer", "format": "int64"}
		if low, high, ok := strings.Cut(rest, " to "); ok {
			o["minimum"], o["maximum"] = number(low), number(high)
		}
		return o
	case "url":
		return object{"type": "string", "format": "uri"}
	case "time":
		return object{"type": "string", "format": "date-time"}
	case "method":
		return kind("one of GET, POST", used)
	case "map":
		return object{"type": "object"}
	case "sid":
		return object{"type": "string", "pattern": "^" + rest + "[0-9a-f]{32}$", "minLength": 34, "maxLength": 34}
	case "one":
		var words []any
		for _, w := range strings.Split(strings.TrimPrefix(rest, "of "), ", ") {
			words = append(words, w)
		}
		return object{"type": "string", "enum": words}
	case "object":
		used[rest] = true
		return reference(rest)
	case "list":
		return object{"type": "array", "items": kind(strings.TrimPrefix(rest, "of "), used)}
	}
	panic(fmt.Sprintf("no kind %q", k))
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("no number in a kind: %v", err))
	}
	return n
}

// words says a kind to people.
func words(k string) string {
	k = strings.TrimPrefix(k, "maybe ")
	base, nullable := strings.CutSuffix(k, "?")
	name, rest, _ := strings.Cut(base, " ")
	switch name {
	case "text":
		base = "text"
		if rest != "" {
			base = "text, at most " + rest + " characters"
		}
	case "name":
		base = "text, 1 to " + rest + " characters"
	case "bool":
		base = "true or false"
	case "int":
		base = "whole number"
		if rest != "" {
			base = "whole number, " + rest
		}
	case "sid":
		base = "SID (" + rest + "…)"
	case "time":
		base = "date and time"
	case "method":
		base = "GET or POST"
	case "one":
		base = strings.TrimPrefix(rest, "of ")
	case "object":
		base = rest
	case "map":
		base = "object"
	case "list":
		base = "list of " + words(strings.TrimPrefix(rest, "of "))
	}
	if nullable {
		base += ", or null"
	}
	return base
}
