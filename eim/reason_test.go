package eim

import (
	"strings"
	"testing"

	"godwit/iot"
)

// TestJudgeInWords: what an eUICC says with a number is told in words, whatever it
// was asked.
func TestJudgeInWords(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		result iot.OpResult
		want   string
	}{
		{AddEIM, iot.OpResult{Op: iot.OpAddEim, Code: 2}, "associated"},
		{DeleteEIM, iot.OpResult{Op: iot.OpDeleteEim, Code: 1}, "not associated"},
		{UpdateEIM, iot.OpResult{Op: iot.OpUpdateEim, Code: 6}, "counter"},
		{UnsetFallback, iot.OpResult{Op: iot.OpDropFallback, Code: 2}, "No profile has the fallback attribute"},
		{Immediate, iot.OpResult{Op: iot.OpImmediate, Code: 1}, "no room"},
		{GetRAT, iot.OpResult{Op: iot.OpGetRAT, Terminated: true, Code: 2}, "stopped there"},
		{GetRAT, iot.OpResult{Op: iot.OpGetRAT, Code: 99}, "error 99 of getRAT"},
	} {
		if o := judge(&task{kind: c.kind}, []iot.OpResult{c.result}); o.reason != "refused" || !strings.Contains(o.message, c.want) {
			t.Errorf("%s: %s: %q, want %q in it", c.kind, o.reason, o.message, c.want)
		}
	}
}
