// Package metrics counts what an agent does, for Prometheus. No label holds an id, the name of a secret, or anything else
// that a caller chooses: the number of series is bounded, and a page of metrics tells nothing about what is kept secret.
package metrics

import (
	"net/http"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/airlock-secrets/airlock/internal/agentapi"
	"github.com/airlock-secrets/airlock/internal/airflow"
	"github.com/airlock-secrets/airlock/internal/fault"
)

// Upper bounds of the histograms' buckets. A hit takes microseconds, a vault some milliseconds to a minute; ages go up to
// the usual max_stale of 12 hours, and beyond.
var (
	lookupTimes = []time.Duration{
		time.Microsecond, 10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
		500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
		time.Minute,
	}
	ages = []time.Duration{
		time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour,
		6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
	requestSeconds = []float64{5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
)

// found is the outcome of a lookup or a read that had a value. Others are called like the kinds of fault.
const found = "found"

// Metrics are those of one process. Make them with New. They are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	page     http.Handler
	kinds    map[airflow.Kind]*Lookups
	other    *Lookups

	reads    *prometheus.CounterVec
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	refused  *prometheus.CounterVec
}

// New makes metrics that have counted nothing; version is what the program calls itself.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		kinds:    map[airflow.Kind]*Lookups{},
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "airlock_vault_reads_total",
			Help: "Secrets asked of a vault, logins and repeated requests included, by how it ended.",
		}, []string{"outcome"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "airlock_vault_requests_total",
			Help: "HTTP requests to vaults and their logins, by operation and status; none: there was no answer.",
		}, []string{"operation", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "airlock_vault_request_seconds",
			Help:    "Time until the head of the answer to an HTTP request to a vault or its login.",
			Buckets: requestSeconds,
		}, []string{"operation"}),
	}
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "airlock_tcp_refused_total",
		Help: "Requests by TCP that were refused before anybody looked at them, by reason.",
	}, []string{"reason"})
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "airlock_lookups_total",
		Help: "Lookups answered, by kind, by where the answer came from, and by how it ended.",
	}, []string{"kind", "source", "outcome"})
	took := newHistograms("airlock_lookup_seconds", "Time that the agent took for a lookup.", lookupTimes)
	age := newHistograms("airlock_served_age_seconds", "Age of the values that were served.", ages)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "airlock_build_info", Help: "Always 1; which program this is.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(lookups, took, age, m.reads, m.requests, m.took, m.refused, build, goCollector())
	m.page = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})

	for _, kind := range airflow.Kinds() {
		m.kinds[kind] = newLookups(lookups.MustCurryWith(prometheus.Labels{"kind": string(kind)}), took, age)
	}
	m.other = newLookups(lookups.MustCurryWith(prometheus.Labels{"kind": "other"}), took, age)
	return m
}

// goCollector tells of Go's memory and goroutines: what is usual, and how much of the heap the last collection found in use,
// which alone tells a leak from memory that is kept for later.
func goCollector() prometheus.Collector {
	return collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
		collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/live:bytes$`)},
	))
}

// ServeHTTP writes all metrics in Prometheus' text format.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.page.ServeHTTP(w, r) }

// Gauge is a figure that is asked for whenever somebody looks.
type Gauge struct {
	Name, Help string
	Value      func() float64
}

// Add registers gauges. It panics on a name that is there already, which is a mistake in the program.
func (m *Metrics) Add(gauges ...Gauge) {
	for _, g := range gauges {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.Name, Help: g.Help}, g.Value))
	}
}

// Read counts a question to a vault that ended with err; nil is a value.
func (m *Metrics) Read(err error) { m.reads.WithLabelValues(outcome(err)).Inc() }

// Refused counts a request by TCP that was refused for a reason of a few.
func (m *Metrics) Refused(reason string) { m.refused.WithLabelValues(reason).Inc() }

// request counts an HTTP request; status 0 is none.
func (m *Metrics) request(operation string, status int, took time.Duration) {
	text := "none"
	if status != 0 {
		text = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(operation, text).Inc()
	m.took.WithLabelValues(operation).Observe(took.Seconds())
}

func outcome(err error) string {
	if err == nil {
		return found
	}
	return fault.KindOf(err).String()
}

// Lookups counts the lookups of one kind. Its counters for what happens all the time are found beforehand: a lookup takes
// less than a microsecond, and finding a counter by its labels is a good part of that.
type Lookups struct {
	counts    *prometheus.CounterVec // by source and outcome
	found     [len(order)]prometheus.Counter
	took, age *histograms
}

// Of gives the counters of a kind. All kinds that Airflow does not have share one, because callers may make them up.
func (m *Metrics) Of(kind airflow.Kind) *Lookups {
	if l := m.kinds[kind]; l != nil {
		return l
	}
	return m.other
}

// Lookup is one that was answered.
type Lookup struct {
	Source    agentapi.Source // "": nothing had to be asked
	Err       error           // nil: a value was found
	Took, Age time.Duration   // Age is that of a value
}

// Done counts a lookup.
func (l *Lookups) Done(d Lookup) {
	i := index(d.Source)
	if d.Err != nil {
		l.counts.WithLabelValues(label(order[i]), outcome(d.Err)).Inc()
	} else {
		l.found[i].Inc()
		l.age.of[i].observe(d.Age)
	}
	l.took.of[i].observe(d.Took)
}

// order gives each source its place.
var order = [...]agentapi.Source{agentapi.FromCache, agentapi.FromVault, agentapi.FromStale, ""}

func index(source agentapi.Source) int {
	for i, s := range order[:len(order)-1] {
		if s == source {
			return i
		}
	}
	return len(order) - 1
}

func label(source agentapi.Source) string {
	if source == "" {
		return "none"
	}
	return string(source)
}

func newLookups(counts *prometheus.CounterVec, took, age *histograms) *Lookups {
	l := &Lookups{counts: counts, took: took, age: age}
	for i, source := range order {
		l.found[i] = counts.WithLabelValues(label(source), found)
	}
	return l
}
