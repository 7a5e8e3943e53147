package smsc

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	bound = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "godwit_smsc_bound", Help: "Whether this node is bound to the SMSC.",
	})
	submitted = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "godwit_smsc_submitted_total", Help: "Messages handed to the SMSC, by what became of it.",
	}, []string{"result"})
	taken = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "godwit_smsc_taken_total", Help: "Messages and receipts taken from the SMSC, by what became of it.",
	}, []string{"kind", "result"})
)

// outcome is the label of how a submission ended.
func outcome(err error) string {
	refusal, refused := errors.AsType[*Refusal](err)
	switch {
	case err == nil:
		return "accepted"
	case refused && refusal.Throttled():
		return "throttled"
	case refused:
		return "refused"
	case errors.Is(err, ErrDoubt):
		return "doubt"
	}
	return "unsent"
}
