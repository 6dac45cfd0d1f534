package agent

import (
	"time"

	"github.com/airlock-secrets/airlock/internal/metrics"
)

// gauges are what the metrics ask the agent for.
func (a *Agent) gauges() []metrics.Gauge {
	return []metrics.Gauge{
		{Name: "airlock_cache_entries", Help: "Answers that are held, those that say there is none included.",
			Value: func() float64 { return float64(a.cache.Stats().Entries) }},
		{Name: "airlock_vault_flights", Help: "Secrets that a vault is being asked for now.",
			Value: func() float64 { return float64(a.cache.Stats().Flights) }},
		{Name: "airlock_requests_in_flight", Help: "Requests on the socket that are being answered now.",
			Value: func() float64 { return float64(a.used.active.Load()) }},
		{Name: "airlock_start_time_seconds", Help: "When the agent started, in seconds since the epoch.",
			Value: func() float64 { return float64(a.started.UnixNano()) / float64(time.Second) }},
	}
}
