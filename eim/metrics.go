package eim

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	// calls counts what was asked at ESipa and how it ended: the functions, the
	// bindings and the results are closed sets.
	calls = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "godwit_eim_calls_total",
		Help: "Functions of ESipa that were executed, by binding and result (package, nothing, ok, refused, malformed, or trouble of our own).",
	}, []string{"binding", "function", "result"})

	tasks = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "godwit_eim_tasks_total",
		Help: "Tasks that ended, by kind and end.",
	}, []string{"kind", "stage"})

	results = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "godwit_eim_results_total",
		Help: "Results of IPAs and eUICCs, by what they are and whether they were believed.",
	}, []string{"evidence", "verdict"})

	relays = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "godwit_eim_notifications_total",
		Help: "Notifications of eUICCs for SM-DP+s, by what became of them.",
	}, []string{"result"})
)

func countTask(k Kind, s Stage)            { tasks.WithLabelValues(string(k), string(s)).Inc() }
func countResult(evidence, verdict string) { results.WithLabelValues(evidence, verdict).Inc() }
func countRelay(result string)             { relays.WithLabelValues(result).Inc() }
