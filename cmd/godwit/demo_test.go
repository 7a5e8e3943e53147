package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestDemo runs the whole job once, as a new user does.
func TestDemo(t *testing.T) {
	out := godwit(t, "demo", "--once")
	for _, want := range []string{"server ready", "profile available", "downloaded and installed", "Sim active", "network authentication", "All of it came true"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the demonstration does not say %q:\n%s", want, out)
		}
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "FAILED") {
			t.Error(line)
		}
	}
}
