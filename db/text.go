package db

import (
	"strings"
	"unicode/utf8"
)

// Text makes a stranger's text fit for storing: UTF-8 without the character NUL,
// which PostgreSQL refuses, and at most so many bytes of it, cut between characters.
func Text(s string, most int) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), most)], "\x00", ""), "")
}

// IsText reports whether a text can be stored as it is: UTF-8 without NUL.
func IsText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
