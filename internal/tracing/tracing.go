// Package tracing tells an OpenTelemetry collector what an agent does: a span for each lookup, and one for each request to a
// vault or its login below it. No span holds an id, the name of a secret, or a value. Without a configured collector there is
// no Tracer, and nothing of this runs.
//
// Spans travel as OTLP over HTTP in its JSON encoding, by an exporter of our own: the official ones bring gRPC and protobuf,
// which would make the program a third larger (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
package tracing

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans and sends them. Make one with New.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	caller   propagation.TraceContext
}

// New makes a Tracer. Sampler, limits and further attributes of the resource are the SDK's to read from the environment:
// OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_RESOURCE_ATTRIBUTES.
func New(config Config, version string, log *slog.Logger) (*Tracer, error) {
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "airlock"), attribute.String("service.version", version),
	), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithBatcher(newExporter(config, log)))
	return &Tracer{provider: provider, tracer: provider.Tracer("airlock")}, nil
}

// Lookup begins the span of a lookup, below the caller's own if its header names one (https://www.w3.org/TR/trace-context/).
// done ends it.
func (t *Tracer) Lookup(ctx context.Context, header http.Header, kind string) (_ context.Context, done func(source, outcome string)) {
	ctx = t.caller.Extract(ctx, propagation.HeaderCarrier(header))
	ctx, span := t.tracer.Start(ctx, "lookup", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("airlock.kind", kind)))
	return ctx, func(source, outcome string) {
		span.SetAttributes(attribute.String("airlock.outcome", outcome))
		if source != "" {
			span.SetAttributes(attribute.String("airlock.source", source))
		}
		if outcome != "found" && outcome != "not_found" {
			span.SetStatus(codes.Error, outcome)
		}
		span.End()
	}
}

// Transport makes a span of every request that passes through it to next; operation names it. Requests that no lookup waits
// for, as a look at the list, are traces of their own; so are those of a refresh ahead of time below the lookup, already
// answered, that asked for it.
func (t *Tracer) Transport(operation func(*http.Request) string, next http.RoundTripper) http.RoundTripper {
	return &transport{tracer: t, operation: operation, next: next}
}

type transport struct {
	tracer    *Tracer
	operation func(*http.Request) string
	next      http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.tracer.Start(r.Context(), "vault "+t.operation(r), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Hostname())))
	defer span.End()
	response, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		span.SetStatus(codes.Error, "no answer") // the error's text may hold the path, and with it a name
		return response, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	if response.StatusCode >= http.StatusBadRequest {
		span.SetStatus(codes.Error, "")
	}
	return response, nil
}

// CloseIdleConnections is what http.Client looks for.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// closeTime is the longest that the last spans may take to be sent.
const closeTime = 5 * time.Second

// Close sends what has ended so far.
func (t *Tracer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return t.provider.Shutdown(ctx)
}
