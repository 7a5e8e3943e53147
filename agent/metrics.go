package agent

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"godwit/ipa"
)

// metrics are what an agent counts.
type metrics struct {
	registry *prometheus.Registry
	steps    *prometheus.CounterVec
	reports  *prometheus.CounterVec
	contact  prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "godwit_agent_steps_total", Help: "Steps of the IPA by their result.",
		}, []string{"step", "result"}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "godwit_agent_reports_total", Help: "Reports to the server by their result.",
		}, []string{"result"}),
		contact: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "godwit_agent_last_contact_seconds", Help: "When the eIM answered last, in seconds since 1970.",
		}),
	}
	m.registry.MustRegister(m.steps, m.reports, m.contact)
	return m
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

func (m *metrics) step(p ipa.Progress) {
	m.steps.WithLabelValues(string(p.Step), result(p.Err)).Inc()
	if p.Err == nil && (p.Step == ipa.StepPoll || p.Step == ipa.StepResult) {
		m.contact.SetToCurrentTime()
	}
}

func (m *metrics) report(err error) { m.reports.WithLabelValues(result(err)).Inc() }

// serve serves the metrics until stop is called.
func (m *metrics) serve(address string) (stop func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(l); err != http.ErrServerClosed {
			slog.Warn("metrics are no longer served", "err", err)
		}
	}()
	return func() {
		s.Close()
		<-ended
	}, nil
}
