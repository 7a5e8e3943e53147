package monitor

import (
	"testing"
	"time"
)

// TestRetry: pauses double from a second to five minutes, a fifth more or less.
func TestRetry(t *testing.T) {
	s := &Store{}
	for failures, want := range map[int64]time.Duration{
		1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 8: 128 * time.Second, 9: 5 * time.Minute, 1 << 40: 5 * time.Minute,
	} {
		for range 100 {
			if got := s.retry(failures); got < want-want/5 || got > want+want/5 {
				t.Errorf("after %d failures %v, want about %v", failures, got, want)
			}
		}
	}
}

// TestHeaderWords: what can be the name of a header, and what its value.
func TestHeaderWords(t *testing.T) {
	for text, want := range map[string]bool{"X-Site": true, "a!#$%&'*+-.^_`|~9": true, "": false, "a b": false, "a:b": false, "\u00fc": false, "a\x00": false} {
		if isToken(text) != want {
			t.Errorf("%q is a name: %v", text, !want)
		}
	}
	for text, want := range map[string]bool{"": true, "a b\tc": true, "a\nb": false, "a\rb": false, "\x7f": false, "\u00fc": false} {
		if visible(text) != want {
			t.Errorf("%q is a value: %v", text, !want)
		}
	}
}
