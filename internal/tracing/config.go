package tracing

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/airlock-secrets/airlock/internal/fault"
)

// Config says where spans go.
type Config struct {
	Endpoint string            // the URL that takes them, with its path; "": there is no tracing
	Headers  map[string]string // of each request
	Timeout  time.Duration     // for one request
}

// Host is the collector's host, for the log: the rest of the endpoint may hold a token.
func (c Config) Host() string {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// The collector's address where OTEL_TRACES_EXPORTER=otlp stands alone.
const defaultEndpoint = "http://localhost:4318"

// FromEnvironment reads OpenTelemetry's own variables
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/). Tracing is on where an endpoint is named, or
// OTEL_TRACES_EXPORTER is otlp; none, or OTEL_SDK_DISABLED, turns it off. The error is of kind Usage and holds no header.
func FromEnvironment(getenv func(string) string) (Config, error) {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || exporter == "none" {
		return Config{}, nil
	}
	if exporter != "" && exporter != "otlp" {
		return Config{}, fault.New(fault.Usage, fmt.Sprintf("OTEL_TRACES_EXPORTER=%q is not known", exporter), "it is otlp or none")
	}
	of := func(name string) string {
		return cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), getenv("OTEL_EXPORTER_OTLP_"+name))
	}
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if base := getenv("OTEL_EXPORTER_OTLP_ENDPOINT"); endpoint == "" && (base != "" || exporter != "") {
		endpoint = strings.TrimSuffix(cmp.Or(base, defaultEndpoint), "/") + "/v1/traces"
	}
	if endpoint == "" {
		return Config{}, nil
	}
	c := Config{Endpoint: endpoint, Headers: map[string]string{}, Timeout: 10 * time.Second}
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Config{}, fault.New(fault.Usage, "OpenTelemetry's endpoint is not an http or https URL", "for example "+defaultEndpoint)
	}
	if protocol := of("PROTOCOL"); protocol == "grpc" {
		return Config{}, fault.New(fault.Usage, "traces are sent by OTLP over HTTP alone, and OTEL_EXPORTER_OTLP_PROTOCOL is grpc",
			"collectors take HTTP at port 4318: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json and the endpoint")
	}
	if text := of("TIMEOUT"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms <= 0 {
			return Config{}, fault.New(fault.Usage, "OTEL_EXPORTER_OTLP_TIMEOUT is not a number of milliseconds")
		}
		c.Timeout = time.Duration(ms) * time.Millisecond
	}
	for pair := range strings.SplitSeq(of("HEADERS"), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil || strings.TrimSpace(key) == "" {
			return Config{}, fault.New(fault.Usage, "OTEL_EXPORTER_OTLP_HEADERS is not a list of key=value, percent-encoded")
		}
		c.Headers[strings.TrimSpace(key)] = value
	}
	return c, nil
}
