package smdp

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"godwit/rsp"
)

// calls counts what was asked at the SM-DP+'s borders and how it ended. The
// results are status codes of SGP.22, which are a closed set.
var calls = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "godwit_smdp_calls_total",
	Help: "Functions of ES2+ and ES9+ that were executed, by result (ok, a status code, or trouble of our own).",
}, []string{"interface", "function", "result"})

// count counts one execution of a function.
func count(door, function string, err error) {
	result := "ok"
	if err != nil {
		result = "internal"
		if f, ok := rsp.AsFailure(err); ok {
			result = f.StatusCode.String()
		}
	}
	calls.WithLabelValues(door, function, result).Inc()
}
