package agent

import (
	"time"

	"github.com/airlock-secrets/airlock/internal/cache"
	"github.com/airlock-secrets/airlock/internal/metrics"
)

// gauges are what the metrics ask the daemon for. A plan's vaults are counted together.
func (d *Daemon) gauges() []metrics.Gauge {
	sum := func(of func(cache.Stats) int) func() float64 {
		return func() float64 {
			total := 0
			for _, a := range d.plan.Load().Vaults {
				total += of(a.cache.Stats())
			}
			return float64(total)
		}
	}
	return []metrics.Gauge{
		{Name: "airlock_cache_entries", Help: "Answers that are held, those that say there is none included.",
			Value: sum(func(s cache.Stats) int { return s.Entries })},
		{Name: "airlock_cache_bytes", Help: "Bytes of the names and values that are held.",
			Value: sum(func(s cache.Stats) int { return int(s.Bytes) })},
		{Name: "airlock_vault_flights", Help: "Secrets that a vault is being asked for now.",
			Value: sum(func(s cache.Stats) int { return s.Flights })},
		{Name: "airlock_requests_in_flight", Help: "Requests on the socket that are being answered now.",
			Value: func() float64 { return float64(d.used.active.Load()) }},
		{Name: "airlock_start_time_seconds", Help: "When the agent started, in seconds since the epoch.",
			Value: func() float64 { return float64(d.started.UnixNano()) / float64(time.Second) }},
	}
}
